"""Makes the interpreter that imports this at its start a zygote; see sandfleet_agent::warm.

Imported in place of the host's own module of this name, which is imported by it. Copies are made later, when
the interpreter has done all that it does before it runs a program's file. Everything that a
program could tell a warm start from a cold one by is put right here. A program pays for each page of
memory that it writes to, and Python writes to whatever it looks at: so all that can be done before the
copy is made is done before.
"""


def _unfit():
    """What makes this an interpreter that `_warm` isn't made for; None if nothing does.

    Asked before anything of `_warm` is loaded: it has layouts of CPython's own, which are other ones in other
    builds. docs/decisions/warm-starts.md says which it knows.
    """
    import sys

    implementation = sys.implementation.name
    if implementation != "cpython":
        return f"it is {implementation}, not CPython"
    first, last = (3, 9), (3, 14)
    version = tuple(sys.version_info[:2])
    if not first <= version <= last:
        known = " to ".join(".".join(map(str, one)) for one in (first, last))
        return f"it is CPython {version[0]}.{version[1]}, and {known} are known"
    flags = getattr(sys, "abiflags", "")
    if "t" in flags:
        return "it is built without the global interpreter lock"
    if "d" in flags or hasattr(sys, "gettotalrefcount") or hasattr(sys, "getobjects"):
        return "it is a debug build"
    if sys.maxsize != 2**63 - 1:
        return "its pointers haven't 64 bits"
    # A count and a type.
    if object.__basicsize__ != 16:
        return f"its objects begin with {object.__basicsize__} bytes, not 16"
    return None


def _report_unfit(reason):
    """Tells the worker, as `Report::Unfit` in sandfleet_agent::protocol::zygote, and ends the interpreter."""
    import json
    import os

    os.write(3, json.dumps({"unfit": {"reason": reason}}).encode())
    os._exit(0)


def _become_zygote():
    import os
    import sys

    here = os.path.dirname(__file__)
    loaded = set(sys.modules)
    import _thread
    import _warm
    import _weakref
    import atexit
    import gc
    import io

    for name in {"_thread", "_warm", "_weakref", "atexit", "gc", "io"} - loaded:
        # Ours, and nothing that a program would find.
        del sys.modules[name]

    def read(name):
        with open(os.path.join(here, name)) as file:
            return file.read()

    imports, variables = read("imports").split(), read("variables").split()
    rehearsal = read("rehearsal")
    sys.path.remove(here)
    sys.path_importer_cache.pop(here, None)
    ours = sys.modules.pop(__name__)
    try:
        __import__(__name__)
        has_own = True
    except ImportError:
        sys.modules[__name__] = ours
        has_own = False
    for name in imports:
        try:
            __import__(name)
        except ImportError:
            # Not installed on this host; a program that wants it is told so.
            pass
    try:
        exec(rehearsal, {"__name__": "rehearsal"})
    except ImportError:
        pass
    modules, baseline = sys.modules, None
    for name in variables:
        os.environ.pop(name, None)
    path = os.path.abspath(sys.argv[0])
    loader = modules["_frozen_importlib_external"].SourceFileLoader("__main__", path)

    def ready():
        """The last that is done before copies are made."""
        nonlocal baseline
        if not has_own:
            modules.pop(__name__, None)
        baseline = frozenset(modules) - {"__main__"}
        gc.collect()
        gc.freeze()
        # A new one: the collector doesn't look at what was there before.
        main = type(sys)("__main__")
        main.__dict__.update(modules["__main__"].__dict__)
        modules["__main__"] = main
        main.__dict__.update(__file__=path, __cached__=None, __loader__=loader)

    def begin(command, environment):
        """The first that a program does, with what it has that the zygote hasn't."""
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        if command is not None:
            sys.argv[:] = command[1:]
            sys.orig_argv = command
        if has_numpy:
            numpy_reseed()
        if "threading" in modules:
            # A fork leaves it as it was, the number of a process of the host's.
            modules["threading"].main_thread()._set_native_id()

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
        main = modules.get("__main__")
        for name in ("__file__", "__cached__"):
            getattr(main, "__dict__", {}).pop(name, None)
        del main
        if "threading" in modules:
            modules["threading"]._shutdown()
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
        left = []
        for name in reversed(_warm.added(modules, baseline)):
            try:
                left.append(_weakref.ref(modules.pop(name)))
            except TypeError:
                # Not everything that stands for a module is one.
                pass
        collect()
        for module in left:
            clear(getattr(module(), "__dict__", None))
        collect()
        flush()
        return code

    def collect():
        # Of the oldest too only if there are any: that also empties every list of free objects.
        gc.collect() if gc.get_objects(2) else gc.collect(1)

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

    def numpy_reseed():
        """Does for numpy's generator what the interpreter does for its own one after a fork."""
        key = numpy.frombuffer(bytearray(os.urandom(4 * WORDS)), "u4")
        # As at every start: no state of nothing but zeros.
        key[0] = 0x80000000
        state["state"]["key"] = key
        generator.state = state

    has_numpy = "numpy.random" in modules
    if has_numpy:
        numpy = modules["numpy"]
        generator = numpy.random.mtrand._rand._bit_generator
        state, WORDS = generator.state, 624
        # As at every start: all words but one are used up.
        state["state"]["pos"] = WORDS - 1
        numpy_reseed()
    FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    SPECIAL = ("path", "argv", "last_type", "last_value", "last_traceback")
    SPECIAL += ("path_hooks", "path_importer_cache", "meta_path")
    if sys.version_info >= (3, 12):
        SPECIAL += ("last_exc",)
    _warm.run_with(ready, begin, exit_code, leave)


if _reason := _unfit():
    _report_unfit(_reason)
_become_zygote()
del _become_zygote, _report_unfit, _unfit, _reason
