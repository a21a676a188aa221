from __future__ import annotations

import pytest

from worthit.contract.thresholds import ThresholdError, parse, parse_all


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


def test_k6s_array_is_as_many_thresholds() -> None:
    """Texts and objects of k6's options object, with either quotes, each by itself."""
    array = """['p(95)<500', "p(99)<1000", {threshold: 'max<2000', abortOnFail: false}]"""

    found = parse_all([f"http_req_duration{{name:/chat}}: {array}", "errors: rate<0.01"])

    assert [
        "http_req_duration{name:/chat}: p(95)<500",
        "http_req_duration{name:/chat}: p(99)<1000",
        "http_req_duration{name:/chat}: max<2000",
        "errors: rate<0.01",
    ] == [one.text for one in found]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("errors: [{threshold: 'rate<0.1', abortOnFail: true, delayAbortEval: '10s'}]", "abort"),
        ("errors: [{abortOnFail: false}]", "no 'threshold'"),
        ("errors: [{threshold: 'rate<0.1', abort: false}]", "'abort'"),
        ("errors: ['rate<0.1' 'rate<0.2']", "cannot be read at"),
        ("errors: [rate<0.1]", "cannot be read at"),
    ],
)
def test_what_is_not_supported_of_k6s_forms_is_said(text: str, said: str) -> None:
    """No threshold is left out in silence."""
    with pytest.raises(ThresholdError, match=said):
        parse_all([text])
