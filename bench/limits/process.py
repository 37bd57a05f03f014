"""Checks in one process, on one core."""

import tempfile
import time
from pathlib import Path

from bench.limits.made import check_of, limits, quantiles


def in_process(seconds: float) -> None:
    """As fast as it goes, and paced at 2,000 a second; every second hold is released."""
    with tempfile.TemporaryDirectory() as folder:
        of = limits(Path(folder))
        began, count, cpu = time.perf_counter(), 0, time.process_time()
        while time.perf_counter() - began < seconds:
            verdict = of.check(check_of(count))
            if count % 2:
                of.release(verdict.hold_id or "")
            count += 1
        rate, cost = count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6
        print(f"in process, as fast as it goes: {rate:,.0f} checks/s, {cost:.1f} µs of CPU each, half a release included")
        taken = []
        began = time.perf_counter()
        for number in range(int(2_000 * seconds)):
            while time.perf_counter() < began + number / 2_000:
                pass
            start = time.perf_counter()
            of.check(check_of(number))
            taken.append(time.perf_counter() - start)
        print(f"in process, 2,000 checks/s: {quantiles(taken)}")
        of.close()
