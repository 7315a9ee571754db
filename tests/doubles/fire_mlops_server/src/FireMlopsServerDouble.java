import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;

/**
 * Stands in for the vendor's Fire MLOps server, which is not published. It listens where the real one would,
 * says that it is up, and tells by name which of the settings it needs reached its environment.
 */
public final class FireMlopsServerDouble {

    /** What the role must hand over. Only the names ever leave this process. */
    private static final String[] EXPECTED = {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL", "MLFLOW_S3_IGNORE_TLS",
        "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
    };

    private FireMlopsServerDouble() { }

    public static void main(String[] args) throws IOException {
        if (args.length != 1) {
            fail("exactly one argument is needed, the port; got " + args.length);
        }
        int port = port(args[0]);
        HttpServer server;
        try {
            server = HttpServer.create(new InetSocketAddress(port), 0);
        } catch (IOException e) {
            fail("cannot listen on port " + port + ": " + e.getMessage());
            return;
        }
        server.createContext("/", exchange -> answer(exchange, 404, "{\"error\": \"no such path in this double\"}"));
        server.createContext("/health", exchange -> answer(exchange, 200, "{\"status\": \"UP\", \"double\": true}"));
        server.createContext("/credentials", exchange -> answer(exchange, 200, credentials()));
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
        System.out.println("Fire MLOps server DOUBLE on port " + port + ", Java " + System.getProperty("java.version")
            + ", " + credentials());
    }

    private static int port(String text) {
        int port = -1;
        try {
            port = Integer.parseInt(text);
        } catch (NumberFormatException e) {
            fail("the port is not a number: " + text);
        }
        if (port < 1 || port > 65535) {
            fail("the port must be between 1 and 65535: " + text);
        }
        return port;
    }

    private static String credentials() {
        List<String> set = new ArrayList<>();
        List<String> missing = new ArrayList<>();
        for (String name : EXPECTED) {
            String value = System.getenv(name);
            (value == null || value.isEmpty() ? missing : set).add('"' + name + '"');
        }
        return "{\"set\": [" + String.join(", ", set) + "], \"missing\": [" + String.join(", ", missing) + "]}";
    }

    private static void answer(HttpExchange exchange, int status, String json) throws IOException {
        // The server matches by prefix; a real one would not take /healthy for /health.
        String path = exchange.getRequestURI().getPath();
        if (!path.equals(exchange.getHttpContext().getPath()) && status == 200) {
            answer(exchange, 404, "{\"error\": \"no such path in this double\"}");
            return;
        }
        if (!exchange.getRequestMethod().equals("GET") && status == 200) {
            answer(exchange, 405, "{\"error\": \"only GET\"}");
            return;
        }
        byte[] body = (json + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, body.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(body);
        }
    }

    private static void fail(String message) {
        System.err.println("Fire MLOps server DOUBLE: " + message);
        System.exit(2);
    }
}
