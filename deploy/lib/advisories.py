"""Writes the advisories of RustSec's database on packages of Cargo.lock, as tests/tidy/advisories.toml has them."""

import json
import pathlib
import sys
import tomllib

database, version, lock = sys.argv[1:]
date, commit = version.split()
locked = {package["name"] for package in tomllib.loads(pathlib.Path(lock).read_text())["package"]}
print(f'# RustSec\'s advisories on packages of Cargo.lock, written by deploy/advisories --snapshot.\n'
      f'date = "{date}"\ncommit = "{commit}"')
for file in sorted(pathlib.Path(database, "crates").glob("*/RUSTSEC-*.md")):
    text = file.read_text()
    found = tomllib.loads(text.split("```toml\n", 1)[1].split("\n```", 1)[0])
    about, versions = found["advisory"], found.get("versions", {})
    if about["package"] not in locked or "withdrawn" in about:
        continue
    print(f'\n[[advisory]]\nid = "{about["id"]}"\npackage = "{about["package"]}"')
    for name in ("patched", "unaffected"):
        print(f"{name} = {json.dumps(versions.get(name, []))}")
