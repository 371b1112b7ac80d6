"""What a release folder holds besides programs: man pages, completions, bill of materials, licences, checksums."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import uuid
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHELLS = {"bash": "ko-sentiment.bash", "zsh": "_ko-sentiment", "fish": "ko-sentiment.fish"}
LICENCE_FILE = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
SBOM = "ko-sentiment.cdx.json"


class Crates:
    """The dependency graph of one build, without what only tests use."""

    def __init__(self, features: list[str], target: str):
        command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
        command += ["--features", ",".join(features)]
        metadata = json.loads(subprocess.check_output(command, cwd=ROOT))
        self.root = metadata["resolve"]["root"]
        self.packages = {package["id"]: package for package in metadata["packages"]}
        self.edges = {
            node["id"]: {
                kind: [d["pkg"] for d in node["deps"] if any(k["kind"] == kind for k in d["dep_kinds"])]
                for kind in (None, "build")
            }
            for node in metadata["resolve"]["nodes"]
        }
        self.runtime = self.reach(lambda id: [d for d in self.edges[id][None] if not self.is_macro(d)])
        self.all = self.reach(self.dependencies)

    def is_macro(self, id: str) -> bool:
        return any("proc-macro" in target["kind"] for target in self.packages[id]["targets"])

    def dependencies(self, id: str) -> list[str]:
        return sorted({*self.edges[id][None], *self.edges[id]["build"]})

    def reach(self, after) -> set[str]:
        found, open_ids = set(), [self.root]
        while open_ids:
            id = open_ids.pop()
            if id not in found:
                found.add(id)
                open_ids += after(id)
        return found

    def others(self) -> list[dict]:
        """All packages but our own, by name and version."""
        packages = [self.packages[id] for id in self.all - {self.root}]
        return sorted(packages, key=lambda p: (p["name"], p["version"]))

    def llama_cpp(self) -> tuple[Path, str]:
        """The folder of llama.cpp's source, and the version of its ggml."""
        package = next(p for p in self.others() if p["name"] == "llama-cpp-sys-2")
        folder = Path(package["manifest_path"]).parent / "llama.cpp"
        text = (folder / "ggml/CMakeLists.txt").read_text()
        parts = [re.search(rf"GGML_VERSION_{part} (\d+)", text).group(1) for part in ("MAJOR", "MINOR", "PATCH")]
        return folder, ".".join(parts)


def purl(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def expression(package: dict) -> str:
    return (package["license"] or "NOASSERTION").replace("/", " OR ")


def checksums() -> dict[tuple[str, str], str]:
    """SHA-256 of each crate's archive, from Cargo.lock."""
    entry = re.compile(r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"')
    return {(n, v): hash for n, v, hash in entry.findall((ROOT / "Cargo.lock").read_text())}


def component(crates: Crates, package: dict, hashes: dict) -> dict:
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if package["id"] in crates.runtime else "excluded",
        "licenses": [{"expression": expression(package)}],
        "purl": purl(package),
    }
    if hash := hashes.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": hash}]
    return made


def page_components() -> list[dict]:
    """What web/dist contains, from the page's lock file."""
    made = []
    for path, package in sorted(json.loads((ROOT / "web/package-lock.json").read_text())["packages"].items()):
        if not path or package.get("dev"):
            continue
        name = path.rpartition("node_modules/")[2]
        address = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
        digest = base64.b64decode(package["integrity"].removeprefix("sha512-")).hex()
        made.append(
            {
                "type": "library",
                "bom-ref": address,
                "name": name,
                "version": package["version"],
                "scope": "required",
                "licenses": [{"expression": package["license"].strip("()")}],
                "purl": address,
                "hashes": [{"alg": "SHA-512", "content": digest}],
                "description": "In the page of `serve --web`",
            }
        )
    return made


def sbom(crates: Crates) -> dict:
    """CycloneDX 1.5. What only builds has the scope `excluded`. The same build gives the same bytes."""
    hashes = checksums()
    ours = crates.packages[crates.root]
    _, version = crates.llama_cpp()
    llama = {
        "type": "library",
        "bom-ref": "llama.cpp",
        "name": "llama.cpp",
        "version": f"ggml-{version}",
        "scope": "required",
        "licenses": [{"expression": "MIT"}],
        "purl": f"pkg:github/ggml-org/llama.cpp@ggml-{version}",
        "description": "As the crate llama-cpp-sys-2 carries it",
    }
    depends = []
    for id in sorted(crates.all):
        package = crates.packages[id]
        on = [purl(crates.packages[d]) for d in crates.dependencies(id)]
        on += ["llama.cpp"] if package["name"] == "llama-cpp-sys-2" else []
        depends.append({"ref": purl(package), "dependsOn": sorted(on)})
    page = page_components()
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": purl(ours),
                "name": ours["name"],
                "version": ours["version"],
                "licenses": [{"expression": expression(ours)}],
                "purl": purl(ours),
            }
        },
        "components": [llama, *(component(crates, package, hashes) for package in crates.others()), *page],
        "dependencies": [*depends, *({"ref": c["bom-ref"], "dependsOn": []} for c in [llama, *page])],
    }
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
    return bom


def texts_of(folder: Path) -> list[str]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and LICENCE_FILE.match(p.name))
    return [path.read_text(errors="replace").strip() for path in files]


def licences(crates: Crates) -> str:
    """Each library with its licence, then each licence's text once, under the libraries that carry it."""
    llama, version = crates.llama_cpp()
    # A crate of this repository has no source, and our licence.
    shipped = [p for p in crates.others() if p["id"] in crates.runtime and p["source"]]
    rows = [("llama.cpp", f"ggml {version}", "MIT"), ("glyphs of the plots", "", "OFL-1.1")]
    rows += [(p["name"], p["version"], expression(p)) for p in shipped]
    rows += [(c["name"], c["version"], c["licenses"][0]["expression"]) for c in page_components()]
    carriers = defaultdict(list)
    for text in texts_of(llama):
        carriers[text].append("llama.cpp")
    carriers[(ROOT / "src/eval/glyphs-OFL.txt").read_text().strip()].append("glyphs of the plots")
    carriers[(ROOT / "web/dist/licences.txt").read_text().strip()].append("the page of `serve --web`")
    for package in shipped:
        for text in texts_of(Path(package["manifest_path"]).parent):
            carriers[text].append(package["name"])
    silent = [p["name"] for p in shipped if not texts_of(Path(p["manifest_path"]).parent)]
    lines = ["This program contains:", "", *(f"{n:32} {v:20} {licence}" for n, v, licence in rows), ""]
    lines += [f"Without a licence's text in their packages: {', '.join(silent)}", ""]
    for text, names in carriers.items():
        lines += ["=" * 100, ", ".join(dict.fromkeys(names)), "-" * 100, text, ""]
    return "\n".join(lines)


def checksums_of(folder: Path) -> str:
    """As `sha256sum --check` reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}\n" for p in files)


def write(folder: Path, features: list[str], target: str) -> None:
    """Writes all of it into a folder that holds the binary; the checksums come last."""
    binary = folder / "ko-sentiment"
    pages, scripts = folder / "man" / "man1", folder / "completions"
    pages.mkdir(parents=True)
    scripts.mkdir()
    subprocess.run([binary, "man", "--dir", pages], check=True)
    for shell, name in SHELLS.items():
        (scripts / name).write_bytes(subprocess.check_output([binary, "completions", shell]))
    crates = Crates(features, target)
    (folder / SBOM).write_text(json.dumps(sbom(crates), indent=1) + "\n")
    (folder / "THIRD_PARTY_LICENSES.txt").write_text(licences(crates))
    (folder / "SHA256SUMS").write_text(checksums_of(folder))


if __name__ == "__main__":
    # The bill of materials of a release for this machine.
    host = re.search(r"host: (\S+)", subprocess.check_output(["rustc", "-vV"], text=True)).group(1)
    json.dump(sbom(Crates(["dynamic-backends"], host)), sys.stdout, indent=1)
