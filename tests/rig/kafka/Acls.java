import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Waits until the given number of brokers answers, then grants every right of a table: one JVM where AclCommand needs one per row.
 * Arguments: bootstrap servers, number of brokers, file with `PRINCIPAL RESOURCE NAME OPERATION...` per line.
 */
public final class Acls {
    private static final long DEADLINE_MILLISECONDS = 60_000;

    public static void main(String[] arguments) throws Exception {
        int brokers = Integer.parseInt(arguments[1]);
        List<AclBinding> bindings = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(arguments[2]))) {
            if (!line.isBlank() && !line.startsWith("#")) {
                bindings.addAll(bindings(line.trim().split("\\s+")));
            }
        }
        try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]))) {
            awaitBrokers(admin, brokers);
            admin.createAcls(bindings).all().get();
        }
    }

    private static List<AclBinding> bindings(String[] words) {
        ResourcePattern resource = new ResourcePattern(ResourceType.valueOf(words[1]), words[2], PatternType.LITERAL);
        List<AclBinding> bindings = new ArrayList<>();
        for (int index = 3; index < words.length; index++) {
            AclOperation operation = AclOperation.valueOf(words[index]);
            bindings.add(new AclBinding(resource,
                new AccessControlEntry("User:" + words[0], "*", operation, AclPermissionType.ALLOW)));
        }
        return bindings;
    }

    private static void awaitBrokers(Admin admin, int brokers) throws InterruptedException {
        long deadline = System.currentTimeMillis() + DEADLINE_MILLISECONDS;
        String seen = "no answer";
        while (System.currentTimeMillis() < deadline) {
            try {
                int answering = admin.describeCluster().nodes().get().size();
                if (answering >= brokers) {
                    return;
                }
                seen = answering + " brokers";
            } catch (ExecutionException failure) {
                seen = failure.getCause().toString();
            }
            Thread.sleep(100);
        }
        throw new IllegalStateException("waited " + DEADLINE_MILLISECONDS + " ms for " + brokers + " brokers, last: " + seen);
    }
}
