# needs: javac=default-jdk-headless java=default-jre-headless
# methods: epoll poll
# A selector of java.nio: by epoll, or by poll.
. "$PROGRAMS/lib.bash"
cat >Echo.java <<'JAVA'
import java.net.*; import java.nio.*; import java.nio.channels.*; import java.util.*;
public class Echo {
    static final int CLIENTS = 100, BYTES = 200_000;
    static void serve(ServerSocketChannel listener, Selector selector) throws Exception {
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        int open = 0, seen = 0;
        while (seen < CLIENTS || open > 0) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                if (key.isAcceptable()) {
                    SocketChannel peer = listener.accept();
                    if (peer == null) continue;
                    peer.configureBlocking(false);
                    peer.register(selector, SelectionKey.OP_READ, ByteBuffer.allocate(8192));
                    open++; seen++;
                    continue;
                }
                SocketChannel peer = (SocketChannel) key.channel();
                ByteBuffer buffer = (ByteBuffer) key.attachment();
                if (key.isReadable() && peer.read(buffer) < 0 && buffer.position() == 0) { peer.close(); open--; continue; }
                buffer.flip(); peer.write(buffer); buffer.compact();
                key.interestOps((buffer.hasRemaining() ? SelectionKey.OP_READ : 0) | (buffer.position() > 0 ? SelectionKey.OP_WRITE : 0));
            }
            selector.selectedKeys().clear();
        }
    }
    static void client(SocketAddress server, int seed) throws Exception {
        Selector selector = Selector.open();
        SocketChannel peer = SocketChannel.open();
        peer.configureBlocking(false);
        peer.connect(server);
        peer.register(selector, SelectionKey.OP_CONNECT);
        byte[] sent = new byte[BYTES], got = new byte[BYTES];
        new Random(seed).nextBytes(sent);
        ByteBuffer out = ByteBuffer.wrap(sent), in = ByteBuffer.wrap(got);
        while (in.hasRemaining()) {
            selector.select(5);
            selector.selectedKeys().clear();
            if (!peer.isConnected() && !peer.finishConnect()) continue;
            if (out.hasRemaining()) peer.write(out);
            if (peer.read(in) < 0) throw new Exception("closed early");
            peer.register(selector, SelectionKey.OP_READ | (out.hasRemaining() ? SelectionKey.OP_WRITE : 0));
        }
        peer.close();
        selector.close();
        if (!Arrays.equals(sent, got)) throw new Exception("other bytes came back");
    }
    public static void main(String[] args) throws Exception {
        ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0), 200);
        Selector selector = Selector.open();
        System.out.println(selector.getClass().getName());
        List<Thread> threads = new ArrayList<>();
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        for (int i = 0; i < CLIENTS; i++) {
            int seed = i;
            threads.add(new Thread(() -> { try { client(listener.getLocalAddress(), seed); } catch (Throwable t) { failures.add(t); } }));
        }
        threads.forEach(Thread::start);
        serve(listener, selector);
        for (Thread thread : threads) thread.join();
        // A wakeup from another thread.
        new Thread(() -> { selector.wakeup(); }).start();
        selector.select();
        failures.forEach(System.out::println);
        System.exit(failures.isEmpty() ? 0 : 1);
    }
}
JAVA
javac Echo.java
options=()
class=sun.nio.ch.EPollSelectorImpl
if [ "$METHOD" = poll ]; then
    options+=(-Djava.nio.channels.spi.SelectorProvider=sun.nio.ch.PollSelectorProvider)
    class=sun.nio.ch.PollSelectorImpl
fi
run java "${options[@]}" Echo >said || fail "$(cat said)"
grep -qx "$class" said || fail "not $class but $(cat said)"
