import asyncio

from dsa_ray.engines.window import Window


def test_the_window_opens_by_one_per_success_until_the_first_push_back_and_slowly_after():
    now = [0.0]
    window = Window(64, clock=lambda: now[0])
    assert window.limit == 8
    for _ in range(12):
        window.succeeded()
    assert window.limit == 20
    now[0] = 5.0
    window.pushed_back()
    assert window.limit == 10
    for _ in range(11):
        window.succeeded()
    assert window.limit == 11


def test_many_reports_of_one_overload_halve_the_window_once():
    now = [10.0]
    window = Window(8, clock=lambda: now[0])
    for _ in range(8):
        window.pushed_back()
    assert window.limit == 4
    now[0] = 20.0
    for _ in range(50):
        window.pushed_back()
        now[0] += 2.0
    assert window.limit == 1


def test_the_window_never_opens_beyond_its_most():
    window = Window(3)
    for _ in range(50):
        window.succeeded()
    assert window.limit == 3


def test_no_more_than_the_limit_run_at_once_and_all_get_their_turn():
    async def scenario() -> tuple[int, int]:
        window, now, most, done = Window(4), 0, 0, 0

        async def one() -> None:
            nonlocal now, most, done
            async with window.slot():
                now += 1
                most = max(most, now)
                await asyncio.sleep(0.002)
                now -= 1
                done += 1

        tasks = [asyncio.create_task(one()) for _ in range(40)]
        await asyncio.sleep(0.003)
        for task in tasks[10:20]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return most, done

    most, done = asyncio.run(asyncio.wait_for(scenario(), 5.0))
    assert most <= 4
    assert done == 30
