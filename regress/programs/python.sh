# needs: /usr/lib/python3.11/test/test_epoll.py=libpython3.11-testsuite /usr/bin/python3.11=python3.11
# methods: poll select epoll
# Python's own tests. Those that fail natively are printed and fail here too.
. "$PROGRAMS/lib.bash"
run /usr/bin/python3.11 -m test --timeout 900 -j 2 test_select test_poll test_epoll test_selectors \
    test_asyncio test_subprocess test_signal test_socketserver test_asyncore \
    test_multiprocessing_fork
