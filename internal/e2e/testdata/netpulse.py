"""What people do with NetPulse's job API from Python. Only the address and the
key come from outside; a wrong answer ends the script with an error."""

import os
import sys
import time

import requests

BASE = os.environ["BASE"]
HEADERS = {"X-API-KEY": os.environ["KEY"]}
HOST = os.environ["TARGET_HOST"]


def get(path, **params):
    answer = requests.get(BASE + path, headers=HEADERS, params=params, timeout=30)
    answer.raise_for_status()
    return answer.json()


def submit(command, **more):
    body = {
        "driver": "paramiko",
        "connection_args": {
            "host": HOST,
            "port": int(os.environ["TARGET_PORT"]),
            "username": os.environ["TARGET_USER"],
            "private_key": os.environ["TARGET_KEY"],
        },
        "command": command,
    }
    body.update(more)
    answer = requests.post(BASE + "/device/exec", headers=HEADERS, json=body, timeout=30)
    if answer.status_code != 201:
        sys.exit("exec: %d %s" % (answer.status_code, answer.text))
    return answer.json()["data"]["id"]


def wait_for(job_id, limit=120):
    end = time.time() + limit
    while time.time() < end:
        jobs = get("/job", id=job_id)["data"]
        if not jobs:
            sys.exit("the job is gone")
        if jobs[0]["status"] in ("finished", "failed", "cancelled"):
            return jobs[0]
        time.sleep(2)
    sys.exit("the job does not end")


def cancel(job_id):
    answer = requests.delete(BASE + "/job", headers=HEADERS, params={"id": job_id}, timeout=30)
    return answer.json()["data"]["cancelled_count"]


# Run, wait, read.
job = wait_for(submit(["echo hello", "echo world"]))
if job["result"]["type"] != "success":
    sys.exit("failed: %s" % job["result"]["error"])
if job["result"]["retval"] != {"echo hello": "hello\n", "echo world": "world\n"}:
    sys.exit("retval: %r" % job["result"]["retval"])

# A command that fails says why.
job = wait_for(submit("exit 3"))
if job["status"] != "failed" or not job["result"]["error"]:
    sys.exit("not failed: %r" % job)

for job in get("/job", status="finished")["data"]:
    print("finished", job["id"], "%.2f" % job["duration"])

# The second in the device's queue waits for the first, and can be cancelled.
first = submit("sleep 3", queue_strategy="pinned")
second = submit("echo never", queue_strategy="pinned")
if cancel(second) != 1:
    sys.exit("nothing cancelled")
if cancel(second) != 0:
    sys.exit("cancelled twice")
if wait_for(second)["status"] != "cancelled" or wait_for(first)["status"] != "finished":
    sys.exit("the wrong job was cancelled")

# Workers: the process, and the connection that it keeps.
for params in ({}, {"queue": "FifoQ"}, {"host": HOST}):
    end = time.time() + 60
    while not get("/worker", **params)["data"]:
        if time.time() > end:
            sys.exit("no workers with %r" % params)
        time.sleep(1)
    for w in get("/worker", **params)["data"]:
        print("worker", w["name"], w["status"], w["successful_job_count"], w["failed_job_count"])

print("health", get("/health")["data"]["status"])

# Connections and workers are stopped by host, queue and name; each time the
# next job runs.
name = get("/worker", queue="FifoQ")["data"][0]["name"]
for params in ({"host": HOST}, {"queue": "pinned_" + HOST}, {"name": name}):
    answer = requests.delete(BASE + "/worker", headers=HEADERS, params=params, timeout=30)
    if answer.status_code != 200:
        sys.exit("stop %r: %d %s" % (params, answer.status_code, answer.text))
    job = wait_for(submit("echo again"))
    if job["result"]["type"] != "success":
        sys.exit("after the stop: %r" % job)
print("all good")
