"""hub.py find|fetch|online CACHE: me/model of the hub HF_ENDPOINT by huggingface_hub. Prints the folder.

find: what the cache has, without the hub. fetch, online: as usual.
"""

import os
import sys

import huggingface_hub

what, cache = sys.argv[1:]
local = what == "find"
folder = huggingface_hub.snapshot_download("me/model", cache_dir=cache, local_files_only=local)
for name in os.listdir(folder):
    found = huggingface_hub.hf_hub_download("me/model", name, cache_dir=cache, local_files_only=local)
    assert found == os.path.join(folder, name), found
report = huggingface_hub.scan_cache_dir(cache)
assert not report.warnings, report.warnings
(repository,) = report.repos
assert repository.repo_id == "me/model" and [r.refs for r in repository.revisions] == [{"main"}], repository
print(folder)
