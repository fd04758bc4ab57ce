# needs: cc=gcc make=make apt-get=apt ab=apache2-utils curl=curl python3=python3
# methods: kqueue
# nginx finds kqueue itself. What its files for Linux do not include comes by options, as does a flag that
# it has with epoll alone.
. "$PROGRAMS/lib.bash"
source_of nginx
cd source
built ./configure --without-http_rewrite_module --without-http_gzip_module --with-ld-opt="$LINK" \
    --with-cc-opt="$COMPILE -D_GNU_SOURCE -DNGX_EXCLUSIVE_EVENT=0x20000000 -include sys/event.h"
built make -j 2
cd ..
PATH=$PWD/source/objs:$PATH
. "$PROGRAMS/nginx.sh"
