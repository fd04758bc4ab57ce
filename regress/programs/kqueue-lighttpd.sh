# needs: cc=gcc make=make apt-get=apt ab=apache2-utils curl=curl python3=python3
# methods: kqueue
# lighttpd finds kqueue itself.
. "$PROGRAMS/lib.bash"
source_of lighttpd
cd source
cc="gcc $COMPILE ${LINK% -Wl,--no-as-needed*}"
[ -x configure ] || built ./autogen.sh
built ./configure CC="$cc" CC_FOR_BUILD="$cc" LIBS=-lkqcompat_kqueue --without-pcre2 --without-zlib
built make -j 2
cd ..
mkdir bin
printf '#!/bin/sh\nexec %s -m %s "$@"\n' "$PWD/source/src/lighttpd" "$PWD/source/src/.libs" >bin/lighttpd
chmod +x bin/lighttpd
PATH=$PWD/bin:$PATH
. "$PROGRAMS/lighttpd.sh"
