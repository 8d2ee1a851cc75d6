import logging

import pytest

from mtmedformer_monai.federated.pvi.step_guard import StepGuard


def test_shorter_steps_leave_the_rate():
    guard = StepGuard(0.5)
    for squared in (100.0, 50.0, 60.0, 10.0, 0.0, 30.0):  # within a factor of 4, and a round without a step
        guard.see(squared)
    assert guard.rate == 0.5


def alarmed() -> StepGuard:
    guard = StepGuard(0.5)
    for squared in (1.0, 3.0, 6.0):
        guard.see(squared)
    return guard


def test_growth_halves_the_rate_and_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        assert alarmed().rate == 0.25
    assert "from about 1.25 to 6" in caplog.text


def test_one_long_step_of_a_site_that_joins_is_no_alarm(caplog):
    guard = StepGuard(0.5)
    for squared in (100.0, 10.0, 1.0, 0.1, 20.0, 5.0, 1.0, 0.2):
        guard.see(squared)
    assert guard.rate == 0.5
    assert not caplog.records


def test_slow_growth_is_noticed_too():
    guard = StepGuard(0.5)
    for number in range(12):
        guard.see(1.6**number)
    assert guard.rate < 0.5


def test_the_rate_recovers_slowly_and_never_beyond_what_was_chosen():
    guard = alarmed()
    guard.see(6.0)
    assert guard.rate == pytest.approx(0.2575)
    for _ in range(30):
        guard.see(6.0)
    assert guard.rate == 0.5


def test_some_rate_is_always_left():
    guard = StepGuard(0.5)
    for number in range(30):
        guard.see(10.0**number)
    assert guard.rate == 0.5 / 64


def test_it_resumes_after_restoring():
    other = StepGuard(0.5)
    other.load_state_dict(alarmed().state_dict())
    other.see(7.0)
    assert other.rate == 0.125


def test_rounding_is_no_growth():
    guard = StepGuard(0.5)
    for squared in (1.0, 1e-15, 1e-14, 1e-13, 1e-12):
        guard.see(squared, squared_mean=1.0)
    assert guard.rate == 0.5
