# shellcheck shell=bash
# A secured set of servers (deploy/local up --secure): its authority, certificates, users and passwords, in D/secure.
# Everybody who may read that folder may do everything: it is for tests.

# The users: the tests themselves, the programs, one that only reads, and one that may do nothing.
secure_users=(admin stitch reader nobody)

make_secrets() {
    local folder=$directory/secure name
    [ ! -f "$folder/client.toml" ] || return 0
    command -v openssl >/dev/null || fail "openssl is missing: install it, then try again."
    (
        umask 077
        rm -rf "$folder"
        mkdir -p "$folder"
        cd "$folder"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
            -subj "/CN=authority" -keyout ca.key -out ca.pem 2>openssl.log
        make_certificate server "IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3,DNS:localhost"
        for name in "${secure_users[@]}"; do
            make_certificate "$name" "DNS:$name"
            openssl rand -hex 16 >"$name.password"
        done
        write_client_sections stitch >client.toml
    ) || fail "the certificates could not be made ($folder/openssl.log)."
}

# NAME.pem and NAME.key, and both in NAME.both.pem, as the servers want them.
make_certificate() { # NAME SUBJECT_ALT_NAMES
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$1.key" -out "$1.csr" 2>>openssl.log
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 \
        -extfile "$1.ext" -out "$1.pem" 2>>openssl.log
    cat "$1.key" "$1.pem" >"$1.both.pem"
    rm "$1.csr" "$1.ext"
}

# The sections of a configuration that connect USER.
write_client_sections() { # USER
    local folder=$directory/secure
    cat <<TEXT
[zookeeper]
auth = "digest"
user = "$1"
password_file = "$folder/$1.password"
[zookeeper.tls]
ca = "$folder/ca.pem"
certificate = "$folder/$1.pem"
key = "$folder/$1.key"
[cassandra]
user = "$1"
password_file = "$folder/$1.password"
[cassandra.tls]
ca = "$folder/ca.pem"
certificate = "$folder/$1.pem"
key = "$folder/$1.key"
[kafka.client]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "$1"
"sasl.password_file" = "$folder/$1.password"
"ssl.ca.location" = "$folder/ca.pem"
"ssl.certificate.location" = "$folder/$1.pem"
"ssl.key.location" = "$folder/$1.key"
TEXT
}

password_of() { cat "$directory/secure/$1.password"; }

# Of servers whose TLS is Java code, which is fast only in what the second stage of compilation makes. Cassandra's is native.
tls_java_options() { [ "$secure" = no ] || echo -XX:TieredStopAtLevel=4; }

# Only the port for TLS, and only for clients with a certificate of the authority.
secure_zookeeper() { # FILE
    sed -i -e 's/^clientPort=/secureClientPort=/' -e 's/^clientPortAddress=/secureClientPortAddress=/' "$1"
    cat >>"$1" <<TEXT
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
ssl.clientAuth=need
ssl.keyStore.type=PEM
ssl.keyStore.location=$directory/secure/server.both.pem
ssl.trustStore.type=PEM
ssl.trustStore.location=$directory/secure/ca.pem
TEXT
}

# TLS with client certificates, and SCRAM or PLAIN above it. Without a right by an ACL, only super users may do anything.
secure_kafka() { # FILE
    local scram=org.apache.kafka.common.security.scram.ScramLoginModule name plain=''
    for name in "${secure_users[@]}"; do plain+=" user_$name=\"$(password_of "$name")\""; done
    chmod 600 "$1"
    sed -i -e 's/^listeners=PLAINTEXT:/listeners=SASL_SSL:/' -e 's/^advertised.listeners=PLAINTEXT:/advertised.listeners=SASL_SSL:/' \
        -e 's/^listener.security.protocol.map=.*/listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SSL/' \
        -e 's/^inter.broker.listener.name=.*/inter.broker.listener.name=SASL_SSL/' "$1"
    cat >>"$1" <<TEXT
ssl.client.auth=required
listener.name.sasl_ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=$directory/secure/server.both.pem
ssl.truststore.type=PEM
ssl.truststore.location=$directory/secure/ca.pem
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$scram required username="admin" password="$(password_of admin)";
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$plain;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:stitch;User:CN=server
TEXT
}

# The options by which Kafka's storage is formatted with the users.
scram_options() {
    local name
    for name in "${secure_users[@]}"; do
        printf '%s\n' --add-scram "SCRAM-SHA-512=[name=$name,password=$(password_of "$name")]"
    done
}

secure_cassandra() { # FILE
    cat >>"$1" <<TEXT
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: $directory/secure/server.both.pem
  truststore: $directory/secure/ca.pem
TEXT
}

# Cassandra's users, once it serves.
make_roles() {
    STITCH_SECURE=$directory/secure "$python" "$library/roles.py" "$(address_of cassandra-1)" \
        "$(port_of cassandra-1)" || fail "Cassandra's roles could not be made."
}
