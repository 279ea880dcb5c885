#!/usr/bin/env python3
"""What NetPulse 0.3's Python SDK asks for and reads, in a few lines.

usage: sdk.py URL KEY PORT USER KEYFILE
"""
import sys
import time

import requests

# It sends these with every request, whatever the driver is.
TUNING = {"read_timeout": 60, "delay_factor": 3, "max_loops": 5000}


class Sdk:
    def __init__(self, url, key):
        self.url = url + "/netpulse/0.3"
        self.http = requests.Session()
        self.http.headers.update({"X-API-KEY": key})

    def call(self, method, path, **kwargs):
        answer = self.http.request(method, self.url + path, timeout=30, **kwargs)
        answer.raise_for_status()
        body = answer.json()
        assert body["code"] in (200, 201), body
        return body["data"]

    def run(self, path, commands, **more):
        body = {"driver": "paramiko", "command": commands, "ttl": 300, "driver_args": TUNING, **more}
        return self.call("POST", path, json=body)

    def wait(self, job):
        """Look, less and less often, until the job is over."""
        pause = 0.2
        for _ in range(60):
            if job["status"] in ("finished", "failed", "canceled"):
                return job
            time.sleep(pause)
            pause = min(pause * 1.5, 2)
            job = self.call("GET", "/job", params={"id": job["id"]})[0]
        raise SystemExit("the job does not end: " + job["status"])


def main(url, key, port, user, key_file):
    with open(key_file, encoding="ascii") as f:
        login = {"username": user, "pkey": f.read(), "port": int(port), "timeout": 30}
    sdk = Sdk(url, key)
    assert sdk.call("GET", "/health") == "ok"
    tested = sdk.call("POST", "/device/test", json={"driver": "paramiko", "connection_args": {**login, "host": "127.0.0.1"}})
    assert tested["success"] and tested["latency"] > 0, tested

    def one(commands, **more):
        return sdk.run("/device/exec", commands, connection_args={**login, "host": "127.0.0.1"}, **more)

    job = sdk.wait(one(["echo second", "echo first"]))
    assert job["result"]["type"] == 1 and job["result"]["error"] is None, job
    assert list(job["result"]["retval"].values()) == ["second\n", "first\n"], job["result"]
    job = sdk.wait(one(["exit 3"]))
    assert job["status"] == "failed" and job["result"]["type"] == 2, job
    assert job["result"]["error"]["type"].lower() and job["result"]["error"]["message"], job

    devices = [{"host": "not a host"}, {"host": "127.0.0.1"}, {"host": "localhost", "command": "echo own"}]
    made = sdk.run("/device/bulk", ["echo shared"], connection_args=login, devices=devices)
    said = {j["host"]: list(sdk.wait(j)["result"]["retval"].values()) for j in made["succeeded"]}
    assert said == {"127.0.0.1": ["shared\n"], "localhost": ["own\n"]}, said
    assert [d["host"] for d in made["failed"]] == ["not a host"], made["failed"]

    first = one(["sleep 60"], queue_strategy="pinned")
    job = one(["true"], queue_strategy="pinned")
    assert job["queue"] == "HostQ_127.0.0.1", job
    assert sdk.call("DELETE", "/job", params={"id": job["id"]}) == [job["id"]]
    job = sdk.wait(job)
    assert job["status"] == "canceled" and job["result"]["type"] == 3, job
    assert job["id"] in [j["id"] for j in sdk.call("GET", "/job", params={"status": "canceled"})]
    for _ in range(60):
        rows = sdk.call("GET", "/worker", params={"host": "127.0.0.1"})
        if rows and rows[0]["status"] == "busy":  # as of the worker's last heartbeat
            break
        time.sleep(0.2)
    assert rows[0]["status"] == "busy" and rows[0]["queues"] == ["HostQ_127.0.0.1"], rows
    assert sdk.call("DELETE", "/worker", params={"host": "127.0.0.1"}) == [rows[0]["name"]]
    job = sdk.wait(first)
    assert job["status"] == "failed" and job["result"]["type"] == 2, job
    print("all as the SDK expects")


if __name__ == "__main__":
    main(*sys.argv[1:])
