"""Columns of sentiments for Ray Data. Needs ``ko-sentiment[ray]``.

    from ko_sentiment.ray import Embedded, annotate

    ds = ray.data.read_parquet("comments/")
    server = Embedded("/opt/ko-sentiment", "/models/model.gguf", ("--threads", "4"))
    annotate(ds, server, text="comment", video_id="video", actors=2, num_cpus=4).write_parquet("sentiments/")
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from .client import DEFAULT_WINDOW, Client
from .embedded import Embedded, shared
from .frames import Columns
from .retry import Retry

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

__all__ = ["Annotator", "Embedded", "annotate"]


class Annotator:
    """An actor with a server of its own, which ends with it. `Dataset.map_batches` calls it with Arrow tables.

    Args:
        server: How to start the server. Give it as many ``--threads`` as the actor has CPUs.
        text: The column with the comments.
        title: The column with the videos' titles, if there is one; `summary` and `video_id` likewise.
        window: Maximum rows in flight.
        reproducible: Compute each row in isolation: a batch that runs again gives the same bits. Slower.
    """

    def __init__(
        self,
        server: Embedded,
        *,
        text: str,
        title: str | None = None,
        summary: str | None = None,
        video_id: str | None = None,
        window: int = DEFAULT_WINDOW,
        reproducible: bool = False,
    ) -> None:
        self._columns = Columns(text, title, summary, video_id)
        self._window, self._reproducible = window, reproducible
        self._open = contextlib.ExitStack()
        endpoint = self._open.enter_context(shared(server, os.getpid()))
        self._client = self._open.enter_context(Client(endpoint, timeout=600, retry=Retry(attempts=12)))

    def __call__(self, table: pa.Table) -> pa.Table:
        """Returns the table with our columns behind its own; a row that cannot be classified has its ``error``."""
        import pyarrow

        from .arrow import added_fields, annotated

        rows = table.to_batches()
        batches = annotated(
            rows, self._client, self._columns, window=self._window, reproducible=self._reproducible
        )
        schema = pyarrow.schema([*table.schema, *added_fields(table.schema.names)])
        return pyarrow.Table.from_batches(list(batches), schema)


def annotate(
    ds: Dataset,
    server: Embedded,
    *,
    actors: int = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    batch_size: int = 4096,
    blocks: int | None = None,
    **columns: Any,
) -> Dataset:
    """Returns `ds` with the columns label, probability, positive, neutral, negative, abstained and error.

    Ray starts a lost actor again and repeats its batches.

    Args:
        server: How each actor starts its server.
        actors: Number of actors.
        num_cpus: CPUs that an actor reserves, and `num_gpus` likewise; Ray shows the server only those GPUs.
        batch_size: Rows per batch.
        blocks: Partition by video into so many blocks, so that a video's rows meet one actor's caches.
        columns: Further arguments of `Annotator`, `text` at least.
    """
    from ray.data import ActorPoolStrategy

    parts = [columns.get("video_id")] if columns.get("video_id") else [columns.get("title"), columns.get("summary")]
    video = [name for name in parts if name]
    if blocks and video:
        ds = ds.repartition(blocks, keys=video, sort=True)
    return ds.map_batches(
        Annotator,
        fn_constructor_args=(server,),
        fn_constructor_kwargs=columns,
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ActorPoolStrategy(size=actors),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )
