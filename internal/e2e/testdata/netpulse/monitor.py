#!/usr/bin/env python3
"""What scripts for NetPulse's job API do, in a few lines each.

usage: monitor.py URL KEY wait JOB | finished | cancel JOB | workers [NAME=VALUE] | stop NAME=VALUE | health
"""
import sys
import time

import requests


class Api:
    def __init__(self, url, key):
        self.url = url.rstrip("/")
        self.http = requests.Session()
        self.http.headers.update({"X-API-KEY": key})

    def get(self, path, **query):
        answer = self.http.get(self.url + path, params=query, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    def delete(self, path, **query):
        return self.http.delete(self.url + path, params=query, timeout=10)


def wait(api, job_id):
    """Look every two seconds until the job is over."""
    for _ in range(30):
        job = api.get("/job", id=job_id)[0]
        if job["status"] in ("finished", "failed", "cancelled"):
            result = job["result"]
            if result["type"] == "success":
                print("retval:", result["retval"])
                return 0
            print("error:", result["error"])
            return 1
        time.sleep(2)
    print("still", job["status"])
    return 2


def finished(api):
    for job in api.get("/job", status="finished"):
        print(job["id"], "took", round(float(job["duration"]), 3))
    return 0


def cancel(api, job_id):
    answer = api.delete("/job", id=job_id)
    if answer.status_code != 200:
        print("refused:", answer.json()["message"])
        return 1
    print("cancelled:", answer.json()["data"]["cancelled_count"])
    return 0


def workers(api, choice):
    for w in api.get("/worker", **choice):
        print(w["name"], w["status"], w["successful_job_count"], w["failed_job_count"], ",".join(w["queues"]))
    return 0


def stop(api, choice):
    answer = api.delete("/worker", **choice)
    if answer.status_code == 200:
        print("stopped")
        return 0
    print("not stopped:", answer.status_code, answer.json()["message"])
    return 1


def health(api):
    print("health:", api.get("/health")["status"])
    return 0


def main(url, key, what, *args):
    api = Api(url, key)
    if what in ("workers", "stop"):
        return {"workers": workers, "stop": stop}[what](api, dict(a.split("=", 1) for a in args))
    return {"wait": wait, "finished": finished, "cancel": cancel, "health": health}[what](api, *args)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
