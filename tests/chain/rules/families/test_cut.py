"""Families and cuts: every tensor in exactly one segment, and every segment's loss well defined."""

from itertools import pairwise
from math import prod

import pytest
from msgspec.structs import replace

from bft.errors import ConfigError
from chain.records.job import Job, Mode, make_sizes
from chain.rules.families.cut import Span
from chain.rules.families.registry import (
    BUILT_IN,
    model_shapes,
    record_layout,
    segment_parameters,
    segment_shapes,
    span,
)
from chain.rules.jobs import PARAMETERS_MAX, check_job
from tests.chain.rules.training_job import JOB

SIZES = {
    b"mlp": make_sizes(inputs=12, width=8, depth=4, classes=3),
    b"cnn": make_sizes(side=16, channels=1, width=4, depth=4, classes=3),
    b"gpt": make_sizes(context=8, width=8, depth=4, heads=2, tied=0),
}


def cut_job(family: bytes, mode: Mode, segments: int) -> Job:
    job = replace(JOB, family=family, sizes=SIZES[family], mode=mode, segments=segments)
    check_job(job)
    return job


CUTS = [
    (family, mode, segments)
    for family in sorted(BUILT_IN)
    for mode, segments in (
        (Mode.LOCAL_HEADS, 1),
        (Mode.LOCAL_HEADS, 3),
        (Mode.JOINT, 4),
        (Mode.SHARD, 3),
        (Mode.DATA_PARALLEL, 1),
    )
]


@pytest.mark.parametrize(("family", "mode", "segments"), CUTS)
def test_segments_are_disjoint_and_together_the_model(
    family: bytes, mode: Mode, segments: int
) -> None:
    job = cut_job(family, mode, segments)
    parts = [segment_shapes(job, number) for number in range(segments)]
    names = [name for part in parts for name in part]
    assert len(names) == len(set(names))
    assert all(part and list(part) == sorted(part) for part in parts)
    assert {name for name in names if not name.startswith("auxiliary.")} == set(
        model_shapes(cut_job(family, Mode.DATA_PARALLEL, 1))
    )
    assert [segment_parameters(job, number) for number in range(segments)] == [
        sum(map(prod, part.values())) for part in parts
    ]


@pytest.mark.parametrize("family", sorted(BUILT_IN))
def test_only_segments_before_the_last_have_auxiliary_heads(family: bytes) -> None:
    job = cut_job(family, Mode.LOCAL_HEADS, 3)
    for number in range(3):
        heads = {
            name.split(".")[0]
            for name in segment_shapes(job, number)
            if not name.startswith(("block.", "embedding."))
        }
        assert heads == ({"head"} if number == 2 else {"auxiliary"})


def test_a_local_segment_runs_through_its_own_layers_and_a_joint_one_to_the_end() -> None:
    local = cut_job(b"gpt", Mode.LOCAL_HEADS, 3)
    spans = [span(local, number) for number in range(3)]
    assert spans == [Span(0, 1, "auxiliary.0"), Span(1, 2, "auxiliary.1"), Span(2, 4, "head")]
    assert all(one.last == other.first for one, other in pairwise(spans))
    joint = cut_job(b"gpt", Mode.JOINT, 2)
    assert [span(joint, number) for number in range(2)] == [Span(0, 4, "head"), Span(2, 4, "head")]
    for mode, segments in ((Mode.SHARD, 3), (Mode.DATA_PARALLEL, 1)):
        whole = cut_job(b"gpt", mode, segments)
        assert {span(whole, number) for number in range(segments)} == {Span(0, 4, "head")}


def test_shards_differ_by_no_more_than_their_largest_tensor() -> None:
    job = cut_job(b"gpt", Mode.SHARD, 4)
    loads = [segment_parameters(job, number) for number in range(4)]
    assert max(loads) - min(loads) <= max(map(prod, model_shapes(job).values()))


def test_a_segment_that_does_not_exist_is_our_own_mistake() -> None:
    for ask in (segment_shapes, segment_parameters, span):
        for number in (-1, 2):
            with pytest.raises(ValueError, match="this job has 2"):
                ask(JOB, number)


def test_text_is_its_own_label_and_predicts_every_byte_but_the_first() -> None:
    layout = record_layout(cut_job(b"gpt", Mode.JOINT, 1))
    assert (layout.width, layout.predictions, layout.classes) == (9, 8, 256)
    assert not layout.labelled
    image = record_layout(cut_job(b"cnn", Mode.JOINT, 1))
    assert (image.width, image.predictions, image.classes) == (256, 1, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": b"rnn"}, r"no model family b'rnn'; known: cnn, gpt, mlp"),
        ({"sizes": make_sizes(inputs=12, width=8, depth=4)}, "exactly classes, depth, inputs"),
        ({"sizes": make_sizes(inputs=1, width=8, depth=4, classes=3, eyes=2)}, "'eyes'"),
        ({"sizes": SIZES[b"mlp"][::-1]}, "exactly classes"),
        ({"sizes": (*SIZES[b"mlp"], SIZES[b"mlp"][-1])}, "exactly classes"),
        ({"sizes": make_sizes(inputs=12, width=8, depth=4, classes=1)}, "classes is 1; 2 to 256"),
        ({"sizes": make_sizes(inputs=12, width=8, depth=65, classes=3)}, "depth is 65; 1 to 64"),
        ({"mode": 4}, "mode is 4; 0 to 3 allowed"),
        ({"segments": 0}, "segments is 0; 1 to 4 allowed"),
        ({"segments": 5}, "segments is 5; 1 to 4 allowed for this model in mode LOCAL_HEADS"),
        ({"mode": Mode.SHARD, "segments": 11}, "segments is 11; 1 to 10 allowed"),
        ({"mode": Mode.DATA_PARALLEL, "segments": 2}, "segments is 2; 1 to 1 allowed"),
        (
            {"sizes": make_sizes(inputs=1, width=1 << 13, depth=4, classes=3)},
            f"at most {PARAMETERS_MAX} allowed",
        ),
        (
            {
                "family": b"gpt",
                "sizes": make_sizes(context=8, width=8, depth=4, heads=3, tied=0),
            },
            "width 8 is no multiple of heads 3",
        ),
        (
            {
                "family": b"gpt",
                "sizes": make_sizes(context=8, width=8, depth=4, heads=2, tied=1),
            },
            "a tied head reads the embedding",
        ),
        (
            {
                "family": b"gpt",
                "mode": Mode.JOINT,
                "sizes": make_sizes(context=8, width=8, depth=32, heads=2, tied=1),
            },
            "tensors; at most 300",
        ),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_cut_or_held_is_refused(
    changes: dict[str, object], said: str
) -> None:
    job = replace(cut_job(b"mlp", Mode.LOCAL_HEADS, 4), **changes)
    with pytest.raises(ConfigError, match=said):
        check_job(job)
