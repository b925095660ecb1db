"""The mixed jobs: honest, failing and hostile ones, of four languages, two priorities and some tenants."""

import json

C = "#include <stdio.h>\nint main(void) { puts(\"1\"); return 0; }\n"
FORKS = "import os\nfor _ in range(20):\n    try:\n        if os.fork() == 0:\n            os._exit(0)\n    except OSError:\n        pass\n"

SPECIAL = {
    3: {"language": "bash", "code": "echo 1"},
    5: {"language": "javascript", "code": "console.log(1)"},
    7: {"language": "python", "code": "raise SystemExit(3)"},
    9: {"language": "bash", "code": "exit 3"},
    11: {"language": "python", "code": "import time; time.sleep(9)", "limits": {"wall_time_ms": 300}},
    13: {"language": "python", "code": "x = bytearray(10 ** 9)", "limits": {"memory_bytes": 33554432}},
    15: {"language": "python", "code": "while True: pass", "limits": {"cpu_time_ms": 200}},
    17: {"language": "python", "code": "while True: print('x' * 999)", "output_overflow": "kill", "limits": {"output_bytes": 1000}},
    19: {"language": "python", "code": "print('x' * 9999)", "limits": {"output_bytes": 1000}},
    21: {"language": "python", "code": "import sys; sys.stderr.write('x' * 9999)", "limits": {"output_bytes": 1000}},
    23: {"language": "python", "code": FORKS, "limits": {"processes": 5}},
    25: {"language": "python", "code": "open('a.txt', 'w').write('1' * 5000)", "artifacts": ["*.txt"]},
    27: {"language": "python", "code": "for n in 'abc': open(n + '.txt', 'w').write('1')", "artifacts": ["*.txt"], "limits": {"artifact_count": 1}},
    29: {"language": "c", "code": C},
    31: {"language": "c", "code": "int main(void) { return nothing; }"},
    33: {"language": "python", "code": "import time; time.sleep(0.2); print(1)"},
}


def mixed(count: int) -> str:
    """So many jobs, one a line."""
    lines = []
    for number in range(count):
        job = dict(SPECIAL.get(number % 50, {"language": "python", "code": f"print({number} * {number})"}))
        if number % 4 == 0:
            job["priority"] = "batch"
        if number % 3 == 0:
            job["tenant"] = f"tenant-{number % 7}"
        lines.append(json.dumps({"version": 1, **job}))
    return "\n".join(lines) + "\n"
