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
        main = sys.modules["__main__"].__dict__
        path = os.path.abspath(sys.argv[0])
        loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
        main.update(__file__=path, __cached__=None, __loader__=loader("__main__", path))

    def end(how):
        code = how
        if isinstance(how, SystemExit):
            code = how.code
            if code is None:
                code = 0
            elif not isinstance(code, int):
                if sys.stderr is not None:
                    sys.stderr.write(str(code) + "\n")
                code = 1
            code &= 0xFF
        return leave(code)

    def leave(code):
        """The steps of the interpreter's own end, for what the program has brought along."""
        main = sys.modules.get("__main__")
        if main is not None:
            main.__dict__.pop("__file__", None)
            main.__dict__.pop("__cached__", None)
        import _thread
        import atexit

        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        if _thread._count() or not flush():
            return -1 - code
        added = [sys.modules.pop(name) for name in set(sys.modules) - baseline]
        sys.modules.pop("__main__", None)
        for module in [main, *reversed(added)]:
            clear(getattr(module, "__dict__", None))
        del added, main
        gc.collect()
        for left in gc.get_objects():
            if isinstance(left, FILES):
                try:
                    left.flush()
                except (OSError, ValueError):
                    pass
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
    _warm.run_with(begin, end)


_become_zygote()
del _become_zygote
