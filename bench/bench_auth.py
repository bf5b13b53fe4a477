"""401 to authorised request through a registered worker thread, warm; and how many such registrations in a second."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.agent import DeferringAccount, Memory, Worker, account_config, has_uvloop, run
from bench.registrar import Registrar
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.brokered import BrokeredAccount

ONE_BY_ONE, AT_ONCE, ROUNDS = 600, 1000, 5


async def one_by_one(port: int) -> None:
    """Accounts that register one after the other: the latency of an idle agent."""
    async with UserAgent() as agent:
        DeferringAccount.worker = Worker(agent)
        for i in range(ONE_BY_ONE):
            account = agent.add_account(account_config(f"a{i}", port), DeferringAccount)
            await account.register(keep=False)
        DeferringAccount.worker.close()


async def at_once(port: int, cls: type[Account]) -> dict[str, float]:
    """A thousand accounts that begin together, in a window as an application would: how long until all are bound."""
    async with UserAgent(providers=lambda _: Memory()) as agent:
        DeferringAccount.worker = Worker(agent)
        idle = resource.getrusage(resource.RUSAGE_SELF)
        accounts = [agent.add_account(account_config(f"b{i}", port), cls) for i in range(AT_ONCE)]
        window = asyncio.Semaphore(64)

        async def bind(account: Account) -> None:
            async with window:
                await account.register()

        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        await asyncio.gather(*(bind(account) for account in accounts))
        taken, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        DeferringAccount.worker.close()
        # Leaving is not part of the figure, and a thousand un-REGISTERs would be.
        return {
            "per_second": AT_ONCE / taken,
            "cpu_us": (after.ru_utime - before.ru_utime) / AT_ONCE * 1e6,
            "kib_per_account": (after.ru_maxrss - idle.ru_maxrss) / AT_ONCE,
            "idle_mib": idle.ru_maxrss / 1024,
        }


def child(mode: str, loop: str, port: str) -> None:
    mains: dict[str, Callable[[], Any]] = {
        "one": lambda: one_by_one(int(port)),
        "all": lambda: at_once(int(port), DeferringAccount),
        "broker": lambda: at_once(int(port), BrokeredAccount),
    }
    print(json.dumps(run(mains[mode](), fast=loop == "uvloop") or {}))


def measure(mode: str, loop: str, registrar: Registrar) -> dict[str, Any]:
    """One run in a process of its own, so that runs do not warm each other."""
    registrar.dump()
    argv = [sys.executable, "-m", "bench.bench_auth", mode, loop, str(registrar.port)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return {**figures, "latency_us": registrar.dump()["latency_us"]}


def main() -> None:
    registrar = Registrar()
    loops = {"asyncio": (260, 2400), **({"uvloop": (160, 2400)} if has_uvloop() else {})}
    for loop, (latency_target, rate_target) in loops.items():
        medians, runs, brokered = [], [], []
        for _ in range(ROUNDS):
            warm = measure("one", loop, registrar)["latency_us"][ONE_BY_ONE // 6 :]
            medians.append(statistics.median(warm))
            runs.append(measure("all", loop, registrar))
            brokered.append(measure("broker", loop, registrar))
        best = round(statistics.median(medians))
        emit(f"401 -> authorised request by a worker, warm, {loop}", best, "us", f"<= {latency_target} us")
        emit(
            f"deferred registrations/s, {AT_ONCE} accounts, {loop}",
            round(middle(runs, "per_second")),
            "/s",
            f">= {rate_target} /s",
        )
        emit(f"the same by the broker and a provider, {loop}", round(middle(brokered, "per_second")), "/s", "")
        if loop == "asyncio":
            emit("CPU of ours per deferred registration", round(middle(runs, "cpu_us")), "us", "")
            emit("memory per registered account", round(middle(runs, "kib_per_account"), 1), "KiB", "")
            emit("library idle, imported and started", round(middle(runs, "idle_mib"), 1), "MiB", "<= 40 MiB")
    registrar.close()


def middle(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(float(run[key]) for run in runs)


def emit(name: str, value: float, unit: str, target: str) -> None:
    print(json.dumps({"name": name, "value": value, "unit": unit, "target": target}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(*sys.argv[1:])
    else:
        main()
