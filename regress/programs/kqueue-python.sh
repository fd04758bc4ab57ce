# needs: cc=gcc apt-get=apt /usr/bin/python3.11=python3.11 /usr/include/python3.11/Python.h=python3.11-dev /usr/lib/python3.11/test/test_kqueue.py=libpython3.11-testsuite
# methods: kqueue
# Python's module select compiled with kqueue, which selectors and asyncio prefer to all others then; and
# Python's own tests of these.
. "$PROGRAMS/lib.bash"
source_of python3.11
mkdir module
# Debian's interpreter has a `select` inside, which comes before all others.
cat >module/sitecustomize.py <<'PY'
import importlib.util, os, sys
file = os.path.join(os.path.dirname(__file__), "select.so")
spec = importlib.util.spec_from_file_location("select", file)
sys.modules["select"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["select"])
PY
includes=$(/usr/bin/python3.11-config --includes)
# shellcheck disable=SC2086
built cc -O2 -shared -fPIC -DPy_BUILD_CORE_MODULE -DHAVE_KQUEUE -DHAVE_SYS_EVENT_H $COMPILE $includes \
    -I/usr/include/python3.11/internal -Isource/Modules source/Modules/selectmodule.c -o module/select.so $LINK
export PYTHONPATH=$PWD/module
/usr/bin/python3.11 -c 'import selectors; assert selectors.DefaultSelector is selectors.KqueueSelector'
/usr/bin/python3.11 -m test -u network --timeout 900 test_kqueue test_selectors test_asyncio test_subprocess \
    test_signal test_socketserver test_asyncore test_httpservers test_ftplib test_smtplib test_poplib
