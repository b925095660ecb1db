"""Makes the interpreter that imports this at its start a zygote; see sandfleet_agent::zygote.

Imported in place of the host's own module of this name, which is imported by it. Everything that a
program could tell a warm start from a cold one by is put right here.
"""


def _become_zygote():
    import os
    import sys

    loaded = set(sys.modules)
    loaded.discard(__name__)
    here = os.path.dirname(__file__)
    import _warm
    import gc

    with open(os.path.join(here, "imports")) as listed:
        wanted = listed.read().split()
    sys.path.remove(here)
    sys.path_importer_cache.pop(here, None)
    ours = sys.modules.pop(__name__)
    try:
        __import__(__name__)
        has_own = True
        loaded.update(set(sys.modules) - {"_warm", "gc"})
    except ImportError:
        sys.modules[__name__] = ours
        has_own = False
    for name in wanted:
        try:
            __import__(name)
        except ImportError:
            # Not installed on this host; a program that wants it is told so.
            pass
    for name in ("_warm", "gc"):
        if name not in loaded:
            del sys.modules[name]
    baseline = set(sys.modules)
    gc.collect()
    gc.freeze()

    command, environment = _warm.serve()

    # A program, from here on.
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = command[1:]
    sys.orig_argv = command
    if "numpy.random" in sys.modules:
        # The interpreter's own generator does this by itself after a fork.
        sys.modules["numpy.random"].seed()

    def begin():
        if not has_own:
            sys.modules.pop(__name__, None)
        # A new one: the collector doesn't look at what was there before the copy was made.
        main = type(sys)("__main__")
        main.__dict__.update(sys.modules["__main__"].__dict__)
        sys.modules["__main__"] = main
        path = os.path.abspath(sys.argv[0])
        loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
        main.__dict__.update(__file__=path, __cached__=None, __loader__=loader("__main__", path))

    def exit_code(end):
        code = end.code
        if code is None:
            return 0
        if not isinstance(code, int):
            if sys.stderr is not None:
                sys.stderr.write(str(code) + "\n")
            return 1
        return code & 0xFF

    def leave(code):
        """The steps of the interpreter's own end, for what the program has brought along."""
        import _thread
        import _weakref
        import atexit

        main = sys.modules.get("__main__")
        for name in ("__file__", "__cached__"):
            getattr(main, "__dict__", {}).pop(name, None)
        del main
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        if _thread._count() or not flush():
            return -1 - code
        # Whatever order the collector takes a file and its buffers in.
        for file in gc.get_objects():
            if isinstance(file, FILES):
                try:
                    file.flush()
                except (OSError, ValueError):
                    pass
        for name in SPECIAL:
            setattr(sys, name, None)
        for name in ("stdin", "stdout", "stderr"):
            setattr(sys, name, getattr(sys, f"__{name}__", None))
        added = [name for name in sys.modules if name not in baseline or name == "__main__"]
        left = []
        for name in reversed(added):
            try:
                left.append(_weakref.ref(sys.modules.pop(name)))
            except TypeError:
                # Not everything that stands for a module is one.
                pass
        gc.collect()
        for module in left:
            clear(getattr(module(), "__dict__", None))
        gc.collect()
        flush()
        return code

    def clear(names):
        """As the interpreter empties modules: first what is private, then the rest."""
        if type(names) is not dict:
            return
        for is_private in (True, False):
            for name in list(names):
                if name != "__builtins__" and is_private is (name[:1] == "_" != name[1:2]):
                    names[name] = None

    def flush():
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None and not getattr(stream, "closed", False):
                    stream.flush()
            return True
        except Exception:
            return False

    import io

    FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    SPECIAL = ("path", "argv", "last_type", "last_value", "last_traceback")
    SPECIAL += ("path_hooks", "path_importer_cache", "meta_path")
    _warm.run_with(begin, exit_code, leave)


_become_zygote()
del _become_zygote
