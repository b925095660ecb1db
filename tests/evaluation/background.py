import os, time
name = input()
if name == "first":
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        # Outlives the program, if anything lets it.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for process in filter(str.isdecimal, os.listdir("/proc")):
                for descriptor in ("0", "1", "2", "3", "4"):
                    try:
                        with open(f"/proc/{process}/fd/{descriptor}", "w") as other:
                            other.write("canary-second\n")
                    except OSError:
                        pass
            time.sleep(0.01)
        os._exit(0)
    os._exit(0)
time.sleep(0.5)
