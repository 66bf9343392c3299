import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.channels.Pipe;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A server in Java: many threads that wait in the ways that Java has, code hot enough for the compilers, garbage.
 * GET / answers with a nonce and the number of requests so far; GET /rest pauses all else until GET /work.
 */
public class Server {
    static final String NONCE = Long.toHexString(new SecureRandom().nextLong() | 1L << 63);
    static final AtomicReference<String> PROBLEM = new AtomicReference<>();
    static final AtomicInteger REQUESTS = new AtomicInteger();
    static final AtomicLong PASSED = new AtomicLong();
    static final Object GATE = new Object();
    static boolean resting;

    interface Body {
        void run() throws Exception;
    }

    /** Repeats something in a thread of its own, except while the server rests. */
    static void repeat(String name, Body body) {
        Thread thread = new Thread(() -> {
            try {
                while (true) {
                    body.run();
                    synchronized (GATE) {
                        while (resting) {
                            GATE.wait();
                        }
                    }
                }
            } catch (Exception e) {
                PROBLEM.set(name + ": " + e);
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
    }

    /** A ring of threads that pass on a number, which grows by one at each. */
    static void ring(int size) {
        AtomicReference<BlockingQueue<Long>> first = new AtomicReference<>(new ArrayBlockingQueue<>(4));
        BlockingQueue<Long> start = first.get();
        for (int i = 0; i < size; i++) {
            BlockingQueue<Long> from = first.get();
            BlockingQueue<Long> to = i == size - 1 ? start : new ArrayBlockingQueue<>(4);
            first.set(to);
            long[] last = {i - size};
            boolean slow = i == 0;
            repeat("ring-" + i, () -> {
                Long n = from.poll(50, TimeUnit.MILLISECONDS);
                if (n == null) {
                    return; // resting, or somebody else is late
                }
                if (n != last[0] + size) {
                    PROBLEM.set("ring: " + n + " came after " + last[0]);
                }
                last[0] = n;
                if (slow) {
                    Thread.sleep(1);
                }
                PASSED.incrementAndGet();
                to.put(n + 1);
            });
        }
        start.add(0L);
    }

    /** Arithmetic with a known result, hot enough for the last compiler. */
    static void hot() throws InterruptedException {
        double sum = 0;
        for (int i = 1; i <= 20000; i++) {
            sum += Math.sqrt(i) * Math.sin(i) / i;
        }
        if (Math.abs(sum - HOT) > 1e-9) {
            PROBLEM.set("arithmetic: " + sum + " was " + HOT);
        }
        byte[][] garbage = new byte[32][];
        for (int i = 0; i < garbage.length; i++) {
            garbage[i] = new byte[4096];
        }
        Thread.sleep(2);
    }

    static final double HOT = once();

    static double once() {
        double sum = 0;
        for (int i = 1; i <= 20000; i++) {
            sum += Math.sqrt(i) * Math.sin(i) / i;
        }
        return sum;
    }

    static void answer(HttpExchange exchange) throws IOException {
        String problem = PROBLEM.get();
        byte[] text = ((problem != null ? problem : NONCE + " " + REQUESTS.get()) + "\n").getBytes();
        exchange.getResponseHeaders().set("Connection", "close");
        exchange.sendResponseHeaders(200, text.length);
        exchange.getResponseBody().write(text);
        exchange.close();
    }

    static void setResting(boolean value) {
        synchronized (GATE) {
            resting = value;
            GATE.notifyAll();
        }
    }

    static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            PROBLEM.set(e.toString());
        }
    }

    public static void main(String[] args) throws Exception {
        ring(40);
        repeat("hot-1", Server::hot);
        repeat("hot-2", Server::hot);
        Pipe pipe = Pipe.open();
        repeat("pipe", () -> {
            pipe.sink().write(ByteBuffer.wrap(new byte[] {42}));
            ByteBuffer one = ByteBuffer.allocate(1);
            pipe.source().read(one);
            if (one.get(0) != 42) {
                PROBLEM.set("pipe: " + one.get(0));
            }
            Thread.sleep(5);
        });
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 16);
        server.createContext("/rest", exchange -> {
            setResting(true);
            sleep(300);
            answer(exchange);
        });
        server.createContext("/work", exchange -> {
            setResting(false);
            answer(exchange);
        });
        server.createContext("/", exchange -> {
            REQUESTS.incrementAndGet();
            long at = PASSED.get();
            for (int i = 0; PASSED.get() == at && i < 5000; i++) {
                sleep(1);
            }
            if (PASSED.get() == at) {
                PROBLEM.set("the ring stands still");
            }
            answer(exchange);
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
