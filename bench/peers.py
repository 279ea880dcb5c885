"""Measures Celery or RQ: peers.py celery|rq SOCKET JOBS prints jobs per second.

Two workers, one for each processor, with the settings that their documentation advises for
many short tasks: no results, a large prefetch and no gossip for Celery; workers that do not
fork for each job for RQ. Four threads enqueue, RQ in pipelines of 1,000.
"""

import os
import subprocess
import sys
import threading
import time

import redis

PAD = "x" * 190


def noop(pad):
    pass


def celery_app(socket):
    from celery import Celery

    app = Celery("peers", broker="redis+socket://" + socket)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=128,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
    )
    app.task(name="noop")(noop)
    return app


if os.environ.get("PEERS_SOCKET"):  # a worker of Celery imports this file
    app = celery_app(os.environ["PEERS_SOCKET"])


def in_threads(jobs, enqueue):
    threads = [threading.Thread(target=enqueue, args=(jobs // 4,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def celery(socket):
    os.environ["PEERS_SOCKET"] = socket
    app = celery_app(socket)
    task = app.tasks["noop"]
    worker = [sys.executable, "-m", "celery", "-A", "peers", "worker", "--concurrency", "2", "-O", "fair",
              "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]

    def enqueue(n):
        with app.producer_pool.acquire(block=True) as producer:
            for _ in range(n):
                task.apply_async((PAD,), producer=producer)

    def left(r):
        return r.llen("celery") + r.hlen("unacked")

    return [worker], enqueue, left


def rq(socket):
    from rq import Queue

    url = "unix://" + socket
    program = os.path.join(os.path.dirname(sys.executable), "rq")
    worker = [program, "worker", "-w", "rq.worker.SimpleWorker", "--url", url, "--quiet"]

    def enqueue(n):
        queue = Queue(connection=redis.Redis(unix_socket_path=socket))
        while n > 0:
            some = min(n, 1000)
            queue.enqueue_many([Queue.prepare_data("peers.noop", (PAD,), result_ttl=0) for _ in range(some)])
            n -= some

    def left(r):
        return r.llen("rq:queue:default") + r.zcard("rq:wip:default")

    return [worker, worker], enqueue, left


def main():
    which, socket, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]) // 4 * 4
    commands, enqueue, left = {"celery": celery, "rq": rq}[which](socket)
    r = redis.Redis(unix_socket_path=socket)
    workers = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
    try:
        enqueue(4)  # the workers are up when these have ended
        wait(r, left)
        start = time.monotonic()
        in_threads(jobs, enqueue)
        wait(r, left)
        print(jobs / (time.monotonic() - start))
    finally:
        for w in workers:
            w.kill()
            w.wait()


def wait(r, left):
    while left(r) > 0:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
