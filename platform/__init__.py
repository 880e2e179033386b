"""Carries on the standard library's module `platform`, whose name this package takes.

`python -m platform.sweep` puts the repository first on `sys.path`, so that every dependency's `import platform` finds
this package. The standard module's own code is therefore executed in this namespace: all its names, private ones too,
are here and work on each other as before. The file is looked up beside the standard library's `os.py`, not on
`sys.path`, where a second copy of the repository would be found instead. Nothing else lives here.
"""

import importlib.machinery as _machinery
import os as _os

_file = _os.path.join(_os.path.dirname(_os.__file__), "platform.py")
_code = _machinery.SourceFileLoader(__name__, _file).get_code(__name__)  # the interpreter's own cached bytecode
exec(_code, globals())
del _code, _file, _machinery, _os
