# needs: cc=gcc make=make apt-get=apt nginx=nginx-light ab=apache2-utils curl=curl python3=python3
# methods: kqueue
# haproxy as BSD systems build it: with its kqueue poller.
. "$PROGRAMS/lib.bash"
source_of haproxy
built make -C source -j 2 TARGET=linux-glibc USE_KQUEUE=1 ADDINC="$COMPILE" ADDLIB="$LINK"
PATH=$PWD/source:$PATH
. "$PROGRAMS/haproxy.sh"
