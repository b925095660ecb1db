"""Bills of materials against the official schema of CycloneDX: tests/check_bom.py FILE…, called by tests/supply_chain.sh.

Each file has to be valid, has to name the version and the checksum of what it is of and of a known part, and has to be
refused once a part lacks its name: a validator that accepts anything shows nothing.
"""

import json
import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

validator = JsonStrictValidator(SchemaVersion.V1_6)
KNOWN = {"application": ("tokio", "clap", "pyo3-ffi"), "container": ("python3.11-minimal", "libc6", "nodejs")}

for file in map(pathlib.Path, sys.argv[1:]):
    text = file.read_text()
    error = validator.validate_str(text)
    if error:
        sys.exit(f"{file}: {error}")
    bom = json.loads(text)
    whole = bom["metadata"]["component"]
    if not whole["version"] or len(whole["hashes"][0]["content"]) != 64:
        sys.exit(f"{file}: no version or no checksum: {whole}")
    parts = {part["name"]: part for part in bom["components"]}
    for name in KNOWN[whole["type"]]:
        if name not in parts:
            sys.exit(f"{file}: it lacks {name}")
    references = {part["bom-ref"] for part in bom["components"]} | {whole["bom-ref"]}
    for entry in bom["dependencies"]:
        lost = {entry["ref"], *entry["dependsOn"]} - references
        if lost:
            sys.exit(f"{file}: dependencies on what is not in it: {lost}")
    del bom["components"][0]["name"]
    if validator.validate_str(json.dumps(bom)) is None:
        sys.exit(f"{file}: it is called valid without the name of a part")
    print(f"{file}: valid, {len(parts)} parts")
if len(sys.argv) < 2:
    sys.exit("no file to check")
