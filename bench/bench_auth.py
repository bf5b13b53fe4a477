"""401 to authorised request through a registered worker thread, warm; and how many such registrations in a second."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from bench.agent import DeferringAccount, Worker, account_config, has_uvloop, run
from bench.registrar import Registrar
from sipcli.ua.agent import UserAgent

ONE_BY_ONE, AT_ONCE, ROUNDS = 600, 1000, 5


async def one_by_one(port: int) -> None:
    """Accounts that register one after the other: the latency of an idle agent."""
    async with UserAgent() as agent:
        DeferringAccount.worker = Worker(agent)
        for i in range(ONE_BY_ONE):
            account = agent.add_account(account_config(f"a{i}", port), DeferringAccount)
            await account.register(keep=False)
        DeferringAccount.worker.close()


async def at_once(port: int) -> dict[str, float]:
    """A thousand accounts that begin together, in a window as an application would: how long until all are bound."""
    async with UserAgent() as agent:
        DeferringAccount.worker = Worker(agent)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        accounts = [agent.add_account(account_config(f"b{i}", port), DeferringAccount) for i in range(AT_ONCE)]
        window = asyncio.Semaphore(64)

        async def bind(account: DeferringAccount) -> None:
            async with window:
                await account.register()

        began = time.perf_counter()
        await asyncio.gather(*(bind(account) for account in accounts))
        taken = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        DeferringAccount.worker.close()
        # Leaving is not part of the figure, and a thousand un-REGISTERs would be.
        return {"per_second": AT_ONCE / taken, "kib_per_account": (after - before) / AT_ONCE, "idle_mib": before / 1024}


def child(mode: str, loop: str, port: str) -> None:
    main: Any = one_by_one(int(port)) if mode == "one" else at_once(int(port))
    print(json.dumps(run(main, fast=loop == "uvloop") or {}))


def measure(mode: str, loop: str, registrar: Registrar) -> dict[str, Any]:
    """One run in a process of its own, so that runs do not warm each other."""
    registrar.dump()
    argv = [sys.executable, "-m", "bench.bench_auth", mode, loop, str(registrar.port)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) | {"latency_us": registrar.dump()["latency_us"]}


def main() -> None:
    registrar = Registrar()
    loops = {"asyncio": (260, 2400), **({"uvloop": (160, 2400)} if has_uvloop() else {})}
    for loop, (latency_target, rate_target) in loops.items():
        medians, rates, sizes, idle = [], [], [], []
        for _ in range(ROUNDS):
            warm = measure("one", loop, registrar)["latency_us"][ONE_BY_ONE // 6 :]
            medians.append(statistics.median(warm))
            run_ = measure("all", loop, registrar)
            rates.append(run_["per_second"])
            sizes.append(run_["kib_per_account"])
            idle.append(run_["idle_mib"])
        best = round(statistics.median(medians))
        emit(f"401 -> authorised request by a worker, warm, {loop}", best, "us", f"<= {latency_target} us")
        emit(
            f"deferred registrations/s, {AT_ONCE} accounts, {loop}",
            round(statistics.median(rates)),
            "/s",
            f">= {rate_target} /s",
        )
        if loop == "asyncio":
            emit("memory per registered account", round(statistics.median(sizes), 1), "KiB", "")
            emit("library idle, imported and started", round(statistics.median(idle), 1), "MiB", "")
    registrar.close()


def emit(name: str, value: float, unit: str, target: str) -> None:
    print(json.dumps({"name": name, "value": value, "unit": unit, "target": target}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(*sys.argv[1:])
    else:
        main()
