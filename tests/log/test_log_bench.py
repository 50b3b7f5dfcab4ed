"""The append benchmark measures what it says, on either database."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from hub.db import reading
from hub.log.bench import measure_append
from hub.log.store import load_head


@pytest.mark.parametrize("batches_per_checkpoint", [1, 4])
def test_all_that_is_timed_is_in_the_signed_log(engine: Engine, tmp_path: Path, batches_per_checkpoint: int) -> None:
    figure = measure_append(
        engine, tmp_path / "head", batches=5, batch=300, batches_per_checkpoint=batches_per_checkpoint
    )
    assert (figure.leaves, figure.batch) == (1500, 300)
    assert 0 < figure.ratio < 1  # durable appends hash every leaf too, and more
    with reading(engine) as session:
        head = load_head(session)
    assert head is not None
    assert head.size == 1500
