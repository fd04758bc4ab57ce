# needs: perl=perl prove=perl
# methods: poll select
# Perl's own tests of IO::Poll, IO::Select and sockets: dist/IO/t of perl's source, which PERL_SOURCE
# names, where there is one; else what these modules promise, in a script.
. "$PROGRAMS/lib.bash"
if [ -n "${PERL_SOURCE:-}" ]; then
    cp -r "$PERL_SOURCE/dist/IO" "$PERL_SOURCE/t" .
    cd IO
    run prove t/io_poll.t t/io_sel.t t/io_sock.t t/io_unix.t t/io_multihomed.t t/io_pipe.t t/io_udp.t t/cachepropagate-unix.t
    cd ../t
    run prove -I../lib op/sselect.t op/select.t op/alarm.t op/sleep.t
    exit 0
fi
cat >io.t <<'PL'
use strict; use warnings; use Test::More; use IO::Poll qw(POLLIN POLLOUT POLLHUP POLLNVAL); use IO::Select; use Socket; use Time::HiRes;
my $poll = IO::Poll->new; my (@r, @w);
for (1 .. 40) { socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die; push @r, $a; push @w, $b; $poll->mask($a => POLLIN); }
is $poll->poll(0), 0, 'nothing is ready';
for my $round (1 .. 200) {
    my $n = $round * 7 % 40; syswrite $w[$n], 'x';
    is $poll->poll(10), 1; is_deeply [$poll->handles(POLLIN)], [$r[$n]]; sysread $r[$n], my $c, 1;
}
my $select = IO::Select->new(@r);
is scalar(my @none = $select->can_read(0)), 0;
for my $round (1 .. 200) {
    my $n = $round * 11 % 40; syswrite $w[$n], 'x';
    is_deeply [$select->can_read(10)], [$r[$n]]; sysread $r[$n], my $c, 1;
}
close $w[3]; is_deeply [$select->can_read(10)], [$r[3]], 'the end of a stream';
is $poll->poll(10), 1; ok $poll->events($r[3]) & POLLHUP;
$poll->remove($r[3]); $select->remove($r[3]); close $r[3];
# The number comes again.
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die; $poll->mask($a => POLLIN); $select->add($a);
is $poll->poll(0), 0; syswrite $b, 'x'; is_deeply [$select->can_read(10)], [$a]; is $poll->poll(10), 1;
sysread $a, my $c, 1;
for my $i (1 .. 30) { my $pid = fork // die; if (!$pid) { syswrite $w[$i], 'y' if $i != 3; exit 0 } waitpid $pid, 0; next if $i == 3;
    is_deeply [$select->can_read(10)], [$r[$i]]; sysread $r[$i], my $c, 1; }
my $before = Time::HiRes::time(); is $poll->poll(0.3), 0; cmp_ok Time::HiRes::time() - $before, '>=', 0.299;
{ local $SIG{ALRM} = sub { }; Time::HiRes::alarm(0.2); is $poll->poll(30), -1, 'a signal ends it'; ok $!{EINTR}; }
done_testing;
PL
run prove io.t
