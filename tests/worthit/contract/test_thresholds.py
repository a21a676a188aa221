from __future__ import annotations

import pytest

from worthit.contract.thresholds import ThresholdError, parse


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p(95)<500", "cannot be read; write METRIC: EXPRESSION"),
        ("response_time: p(95)<", "cannot be read"),
        ("response_time: p(95)<500ms", "cannot be read"),
        ("", "cannot be read"),
        ("latency: avg<3", "names the metric 'latency'; known are response_time"),
        ("errors: p(95)<3", "asks for 'p' of errors, which has rate, count"),
        ("response_time: p(101)<5", "asks for p(101); N goes from 0 to 100"),
        ("response_time: p()<5", "needs a number in p(N)"),
        ("response_time: avg(3)<5", "only p has one"),
        ("errors{url:/}: rate<1", "has the tag 'url:/'; errors has name:VALUE"),
    ],
)
def test_a_wrong_threshold_says_which_word(text: str, words: str) -> None:
    """What cannot be read is refused, with the word that is wrong."""
    with pytest.raises(ThresholdError) as refused:
        parse(text)

    assert words in str(refused.value)
