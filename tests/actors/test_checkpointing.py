import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.train
import torch.distributed

from dsa_ray.actors.checkpointing import Checkpointer
from dsa_ray.config import parse
from dsa_ray.storage.checkpoints import META, CheckpointError, CheckpointStore, step_name
from dsa_ray.storage.run_folder import RunFolder


def test_a_checkpoint_of_another_run_is_refused_though_its_shapes_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1, get_storage=lambda: None)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", lambda chosen, src: None)
    config = parse({"run": {"name": "one", "storage": str(tmp_path)}, "graph": {"target": "Limits"}})
    loaded: list[str] = []
    engine = SimpleNamespace(load=lambda folder, tag: loaded.append(tag))
    with RunFolder.create(str(tmp_path), config) as folder:
        store, staged = CheckpointStore(folder.checkpoints), tmp_path / "staged"
        staged.mkdir()
        (staged / "curator.npz").write_bytes(b"state")
        checkpointer = Checkpointer(engine, None, config, folder.path, None)  # type: ignore[arg-type]
        for run in (folder.id, None, "another"):  # None: written by a version of old
            (staged / META).write_text(json.dumps({"ranks": 1, "loss": 1.0, "run": run}))
            store.write_part(step_name(1), 0, str(staged))
            store.commit(step_name(1), 1)
            if run == "another":
                with pytest.raises(CheckpointError, match=r"step-00000001 in .* is another run's"):
                    checkpointer.restore()
            else:
                assert checkpointer.restore() == b"state"
    assert loaded == ["shards", "shards"]
