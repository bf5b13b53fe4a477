"""Call-progress tones by what an ear would judge: frequencies by Goertzel, cadence by level, level in dBFS."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.media.callprogress import BELL_DBFS, LEVEL_DBFS, PLANS, Cadence, Note, PlanName, ToneName, failure_tone
from sipcli.media.tone import FLOOR_DBFS, SAMPLE_RATE, dbfs, goertzel, rms, samples_of

EVERY = [(plan, tone) for plan in PLANS for tone in PLANS[plan]]


def _heard(cadence: Cadence, ms: int) -> bytes:
    """At the beginning; whole frames."""
    return b"".join(cadence.read() for _ in range(-(-ms // 20)))


def _steps(pcm: bytes, rate: int, ms: int = 5) -> list[tuple[bool, int]]:
    """Sound and silence as they take turns: is it sound, and for how many ms."""
    size = 2 * rate * ms // 1000
    steps: list[tuple[bool, int]] = []
    for start in range(0, len(pcm) - size + 1, size):
        sounds = dbfs(rms(pcm[start : start + size])) > -50
        if steps and steps[-1][0] == sounds:
            steps[-1] = sounds, steps[-1][1] + ms
        else:
            steps.append((sounds, ms))
    return steps


# What the sources say, once more: on and off in ms, and Hz, as their own tables have them.
KNOWN: list[tuple[PlanName, ToneName, list[int], tuple[int, ...]]] = [
    ("eu", "ringing", [1000, 4000], (425,)),
    ("eu", "busy", [480, 480], (425,)),
    ("eu", "congestion", [240, 240], (425,)),
    ("eu", "waiting", [200, 200, 200, 5000], (425,)),
    ("uk", "ringing", [400, 200, 400, 2000], (400, 450)),
    ("uk", "busy", [375, 375], (400,)),
    ("uk", "congestion", [400, 350, 225, 525], (400,)),
    ("uk", "waiting", [100, 4000], (400,)),
    ("us", "ringing", [2000, 4000], (440, 480)),
    ("us", "busy", [500, 500], (480, 620)),
    ("us", "congestion", [250, 250], (480, 620)),
    ("us", "waiting", [300, 10_000], (440,)),
]


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize(("plan", "tone", "cadence", "frequencies"), KNOWN)
def test_cadence_frequencies_and_level_are_those_of_the_plan(
    plan: PlanName, tone: ToneName, cadence: list[int], frequencies: tuple[int, ...], rate: int
) -> None:
    sound = Cadence(PLANS[plan][tone])
    sound.tune(rate)
    pcm = _heard(sound, 2 * sum(cadence))
    steps = _steps(pcm, rate)
    assert [sounds for sounds, _ in steps] == [True, False] * len(cadence)
    # To a step of 5 ms: E.180 itself allows 10 %.
    assert [ms for _, ms in steps][: len(cadence)] == [pytest.approx(ms, abs=5) for ms in cadence]
    first = pcm[: 2 * rate * cadence[0] // 1000]
    assert dbfs(rms(first)) == pytest.approx(LEVEL_DBFS, abs=0.5)
    low = samples_of(first)[:: rate // SAMPLE_RATE]  # nothing is above 4 kHz
    shares = [goertzel(low, hz) for hz in frequencies]
    assert sum(shares) == pytest.approx(1, abs=0.05)
    assert all(share == pytest.approx(1 / len(frequencies), abs=0.05) for share in shares)


def test_the_level_is_between_those_of_e180() -> None:
    """-15 to -5 dBm0 at a zero relative level point; a full-scale sine is 3.14 dBm0 (G.711)."""
    assert -15 <= LEVEL_DBFS + 3.14 <= -5


@pytest.mark.parametrize("plan", PLANS)
def test_a_bell_warbles_in_the_cadence_of_ringing_and_is_loud(plan: PlanName) -> None:
    bell = Cadence(PLANS[plan]["bell"], level_dbfs=BELL_DBFS)
    ringing = [note.ms for note in PLANS[plan]["ringing"]]
    steps = _steps(_heard(bell, sum(ringing)), SAMPLE_RATE, ms=40)
    assert [sounds for sounds, _ in steps] == [bool(note.frequencies) for note in PLANS[plan]["ringing"]]
    assert [ms for _, ms in steps] == [pytest.approx(ms, abs=80) for ms in ringing]
    again = Cadence(PLANS[plan]["bell"], level_dbfs=BELL_DBFS)
    for hz in (880, 1100):
        pcm = _heard(again, 40)
        assert goertzel(samples_of(pcm), hz) > 0.95
        assert dbfs(rms(pcm)) == pytest.approx(BELL_DBFS, abs=0.5)


@given(
    notes=st.lists(
        st.builds(Note, st.sampled_from([(), (425,), (400, 450)]), st.integers(1, 500)), min_size=1, max_size=6
    ),
    rates=st.lists(st.sampled_from([8000, 16000, 44100, 48000]), min_size=1, max_size=8),
)
def test_frames_are_always_whole_whatever_the_notes_and_the_rates(notes: list[Note], rates: list[int]) -> None:
    """The line may be tuned anew in the middle of a note; nothing is ever louder than it was wished to be."""
    sound = Cadence(tuple(notes))
    for rate in rates:
        sound.tune(rate)
        for _ in range(7):
            frame = sound.read()
            assert len(frame) == 2 * (rate // 50)
            assert max(map(abs, samples_of(frame)), default=0) <= 32768 * 10 ** ((LEVEL_DBFS + 3.1) / 20)


@given(st.sampled_from(EVERY), st.integers(1, 200))
def test_seconds_end_it_for_ever(which: tuple[PlanName, ToneName], frames: int) -> None:
    sound = Cadence(PLANS[which[0]][which[1]], seconds=frames / 50)
    assert sound.ends and not sound.over
    for n in range(frames):
        assert not sound.over, n
        sound.read()
    assert sound.over
    assert sound.read() == bytes(320)
    assert not Cadence(PLANS["eu"]["busy"]).ends


def test_a_note_that_is_tuned_anew_keeps_its_length() -> None:
    sound = Cadence(PLANS["eu"]["ringing"])
    first = _heard(sound, 500)
    sound.tune(48000)
    assert [ms for _, ms in _steps(first, 8000)] == [500]
    assert _steps(_heard(sound, 1000), 48000)[0] == (True, 500)


def test_nothing_jumps_where_a_tone_begins() -> None:
    """A click would be louder than the tone."""
    for plan, tone in EVERY:
        samples = samples_of(_heard(Cadence(PLANS[plan][tone]), 20))
        highest = 2 * 3.1416 * 1100 / SAMPLE_RATE * 32768 * 10 ** (LEVEL_DBFS / 20)
        assert abs(samples[0]) <= highest
        assert all(abs(b - a) <= highest for a, b in pairwise(samples)), (plan, tone)
    assert dbfs(rms(_heard(Cadence((Note((), 20),)), 20))) == FLOOR_DBFS


@pytest.mark.parametrize(
    ("code", "tone"),
    [
        (486, "busy"), (600, "busy"), (603, "busy"), (404, "congestion"), (480, "congestion"), (500, "congestion"),
        (503, "congestion"), (None, "congestion"), (302, None), (487, None),
    ],
)  # fmt: skip
def test_what_is_heard_of_an_answer_that_is_no_success(code: int | None, tone: ToneName | None) -> None:
    assert failure_tone(code) == tone
