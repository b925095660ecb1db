# shellcheck shell=bash
# Private RabbitMQ, Redis and Docker for the tests: start, await, stop, verify. Sourced by tests/run.
#
# Everything is tied to this checkout: data under target/services, sockets under /run/sandfleet-tests-<id>, where <id>
# is a hash of the checkout's path. So two checkouts never share anything, and the next run cleans up after one that was
# killed with SIGKILL.

# shellcheck disable=SC2154 # repo is set by tests/run
services_id=$(printf '%s' "$repo" | sha256sum | cut -c1-8)
services_dir=$repo/target/services
log_dir=$services_dir/log
credentials_dir=$services_dir/credentials
run_dir=/run/sandfleet-tests-$services_id # short, because a socket's path must stay below 108 bytes
cgroup_name=sandfleet-tests-$services_id
docker_url=unix://$run_dir/docker.sock
docker_client=docker

# Not /usr/sbin: Debian's wrappers there switch to the user and the home of the system's own node.
rabbitmq_bin=/usr/lib/rabbitmq/bin

# Every process of a run carries this variable, and its children inherit it: that finds those which left their parent,
# such as containerd's shims. Only services get it, never the commands of this script.
marker=TESTS_OF_SANDFLEET
unset "$marker"

PATH=$PATH:/usr/sbin:/sbin # a user's PATH may be without dockerd

now_ms() { echo $((${EPOCHREALTIME//[^0-9]/} / 1000)); }

# await SECONDS COMMAND…: polls until the command succeeds.
await() {
    local deadline
    deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# ---- start -----------------------------------------------------------------------------------------------------------

declare -A pids=() # service -> pid, only of what runs as our child

# spawn SERVICE COMMAND…: in a session of its own, so that Ctrl-C reaches it through services_stop alone.
spawn() {
    local service=$1
    shift
    env "$marker=$services_id" setsid "$@" </dev/null >"$log_dir/$service.log" 2>&1 9>&- &
    disown # or bash would tell of its end
    pids[$service]=$!
    echo "$! $(start_time $!)" >"$run_dir/$service.pid"
}

# When a process started, in clock ticks: together with its pid this tells it from a later one of the same pid. Nothing
# for one that is dead.
start_time() {
    local line fields
    read -r line <"/proc/$1/stat" || return
    read -ra fields <<<"${line##*) }" # from the third field on: the second, the name, may contain blanks
    [ "${fields[0]}" = Z ] || echo "${fields[19]}"
} 2>/dev/null

# True when something listens on the port, on whatever address.
port_is_taken() {
    local hex
    printf -v hex ':%04X' "$1"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$hex" '$4 == "0A" && index($2, port) { found = 1 } END { exit !found }'
}

# Four neighbouring ports below the range from which the kernel takes ports for outgoing connections. The record in the
# run directory keeps another checkout off them before our services listen.
choose_ports() {
    local slot=$((16#$services_id % 3000)) first port taken
    exec 8</run
    flock 8
    while :; do
        first=$((20000 + slot * 4)) taken=
        grep -qsx "$first" /run/sandfleet-tests-*/first-port && taken=yes
        for port in $first $((first + 1)) $((first + 2)) $((first + 3)); do
            port_is_taken "$port" && taken=yes
        done
        [ -n "$taken" ] || break
        slot=$(((slot + 1) % 3000))
    done
    echo "$first" >"$run_dir/first-port"
    exec 8<&-
    amqp_port=$first redis_port=$((first + 1)) dist_port=$((first + 2)) epmd_port=$((first + 3))
}

services_start() {
    if [ -d "$run_dir" ]; then
        echo "cleaning up after a run that was killed"
        services_stop || die 70 "could not clean up after an earlier run"
    fi
    rm -rf "$services_dir/rabbitmq" "$services_dir/redis"
    if ! mkdir -p "$services_dir"/{rabbitmq,redis,docker,containerd} || ! mkdir -m 700 "$run_dir"; then
        die 73 "could not make the directories of the services"
    fi
    choose_ports
    make_credentials
    # More than many systems' 1024, yet not the billion of others, for which Erlang would reserve memory.
    ulimit -Sn 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"
    start_docker
    start_redis
    start_rabbitmq
}

# The users that a fleet has in production, by the script that makes them there; and one for the tests themselves, which
# may do everything. There is no guest, and no default user of Redis.
make_credentials() {
    local admin_hash
    rm -rf "$credentials_dir"
    "$repo/deploy/credentials/make" "$credentials_dir" --prefix 't-*' --broker "127.0.0.1:$amqp_port" \
        --store "127.0.0.1:$redis_port" --producer acme --producer beta >"$log_dir/credentials.log" ||
        die 70 "could not make the users of the services"
    chmod 755 "$credentials_dir" # not every test is root
    chmod 644 "$credentials_dir"/*
    admin_password=$(openssl rand -hex 24)
    admin_hash=$(printf '%s' "$admin_password" | sha256sum | cut -d ' ' -f 1)
    echo "user tests on #$admin_hash ~* &* +@all" >>"$credentials_dir/redis.acl"
}

start_rabbitmq() {
    local home=$services_dir/rabbitmq node_env
    cat >"$run_dir/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$amqp_port
log.console.level = warning
disk_free_limit.absolute = 50MB
max_message_size = 134217728
load_definitions = $credentials_dir/rabbitmq.json
CONF
    echo '[].' >"$run_dir/enabled_plugins"
    # What the node and rabbitmqctl must agree upon. HOME holds the Erlang cookie. An env file that does not exist keeps
    # /etc/rabbitmq out.
    node_env=(
        "HOME=$home"
        "RABBITMQ_NODENAME=sandfleet-test-$services_id@localhost"
        "RABBITMQ_CONF_ENV_FILE=$run_dir/no-rabbitmq-env.conf"
        "ERL_EPMD_PORT=$epmd_port"
        ERL_EPMD_ADDRESS=127.0.0.1
        "ERL_CRASH_DUMP=$log_dir/rabbitmq.crash"
        "RABBITMQ_CTL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
    )
    {
        echo '#!/bin/sh'
        echo '# rabbitmqctl for the private node of this test run.'
        printf "export '%s'\n" "${node_env[@]}"
        printf "exec '%s' \"\$@\"\n" "$rabbitmq_bin/rabbitmqctl"
    } >"$run_dir/rabbitmqctl"
    chmod 755 "$run_dir/rabbitmqctl"

    # Erlang would start an epmd by itself, as a daemon that is never stopped.
    spawn epmd epmd -port "$epmd_port" -address 127.0.0.1
    spawn rabbitmq env "${node_env[@]}" \
        "RABBITMQ_CONFIG_FILE=$run_dir/rabbitmq.conf" \
        "RABBITMQ_ADVANCED_CONFIG_FILE=$run_dir/no-advanced.config" \
        "RABBITMQ_ENABLED_PLUGINS_FILE=$run_dir/enabled_plugins" \
        "RABBITMQ_MNESIA_BASE=$home" \
        "RABBITMQ_GENERATED_CONFIG_DIR=$home/config" \
        "RABBITMQ_LOG_BASE=$log_dir" \
        RABBITMQ_LOGS=- \
        "RABBITMQ_PID_FILE=$run_dir/rabbitmq-node.pid" \
        "RABBITMQ_DIST_PORT=$dist_port" \
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}" \
        "$rabbitmq_bin/rabbitmq-server"
}

# Its process title would overwrite the environment, and with it our marker.
start_redis() {
    spawn redis redis-server --aclfile "$credentials_dir/redis.acl" --bind 127.0.0.1 --port "$redis_port" --dir "$services_dir/redis" \
        --save '' --appendonly yes --appendfsync everysec --maxmemory-policy noeviction \
        --set-proc-title no --daemonize no
}

# Where the engine is started, and its network: none, unless a suite has containers that talk to each other.
engine_in=()
engine_runtime= # another runc
engine_network=(--bridge=none --iptables=false --ip-masq=false)

# The images stay from run to run in target/services/docker. containerd is started here because dockerd would take the
# system's one where that runs, and so share its containers.
start_docker() {
    local key='' default='' other=''
    if [ -n "$engine_runtime" ]; then
        default='"default-runtime": "other"' other="\"other\": {\"path\": \"$engine_runtime\"}"
    fi
    cat >"$run_dir/containerd.toml" <<CONF
version = 2
root = "$services_dir/containerd"
state = "$run_dir/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$run_dir/containerd.sock"
CONF
    # A config file of our own keeps the system's daemon.json out. Old engines also write a key to /etc/docker.
    case $(dockerd --version) in *' '20.* | *' '23.*) key="\"deprecated-key-path\": \"$run_dir/key.json\"" ;; esac
    # A runtime that is stuck for longer than every timeout; the engine can't remove such a container before.
    printf '#!/bin/sh\nexec sleep 30\n' >"$run_dir/stuck-runtime"
    chmod 755 "$run_dir/stuck-runtime"
    # gVisor, with our system call filter inside its own kernel. Its KVM platform needs what virtual machines often lack,
    # and Debian's release knows no other but ptrace; nor does it get on with every layout of cgroups.
    cat >"$run_dir/daemon.json" <<CONF
{
  ${key:+$key,}
  ${default:+$default,}
  "runtimes": {
    "runsc": {
      "path": "$(command -v runsc)",
      "runtimeArgs": ["--network=none", "--platform=ptrace", "--ignore-cgroups", "--oci-seccomp"]
    },
    ${other:+$other,}
    "stuck": { "path": "$run_dir/stuck-runtime" }
  }
}
CONF
    spawn containerd containerd --config "$run_dir/containerd.toml"
    await 30 test -S "$run_dir/containerd.sock"
    spawn dockerd "${engine_in[@]}" dockerd --config-file "$run_dir/daemon.json" --containerd "$run_dir/containerd.sock" \
        --host "$docker_url" --data-root "$services_dir/docker" --exec-root "$run_dir/docker" \
        --pidfile "$run_dir/dockerd-own.pid" --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup_name" \
        "${engine_network[@]}"
}

# ---- await -----------------------------------------------------------------------------------------------------------

# The broker opens its port last, and then answers the protocol header with a method frame (type 1).
rabbitmq_is_ready() (
    exec 7<>"/dev/tcp/127.0.0.1/$amqp_port" && printf 'AMQP\0\0\11\1' >&7 &&
        read -r -t 2 -N 1 type <&7 && [ "$type" = $'\1' ]
) 2>/dev/null

redis_is_ready() {
    [ "$(REDISCLI_AUTH=$admin_password redis-cli --user tests -h 127.0.0.1 -p "$redis_port" ping 2>/dev/null)" = PONG ]
}

# A recent client may refuse an old engine; the one in /usr/bin came with it.
dockerd_is_ready() {
    for docker_client in docker /usr/bin/docker; do
        private_docker version && return
    done
    return 1
} >/dev/null 2>&1

# A developer's contexts and credentials must not matter, nor be written to.
private_docker() { DOCKER_CONFIG=$run_dir/docker-config timeout 60 "$docker_client" --host "$docker_url" "$@"; }

# Fails early when a service died, with the end of its log.
services_check() {
    local service
    for service in "${!pids[@]}"; do
        kill -0 "${pids[$service]}" 2>/dev/null || service_failed "$service" 'has stopped'
    done
}

service_failed() {
    echo "---- the end of $log_dir/$1.log"
    tail -n 30 "$log_dir/$1.log"
    echo '----'
    die 70 "$1 $2"
}

service_is_ready() {
    services_check
    "${1}_is_ready"
}

services_await() {
    local service
    for service in redis dockerd rabbitmq; do
        await 120 service_is_ready "$service" || service_failed "$service" 'did not get ready within 120 s'
    done
    make_admin >>"$log_dir/credentials.log" 2>&1 || die 70 "could not make the tests' own user of RabbitMQ"
    remove_containers # those of a run that was killed
}

make_admin() {
    "$run_dir/rabbitmqctl" add_user tests "$admin_password" &&
        "$run_dir/rabbitmqctl" set_permissions tests '.*' '.*' '.*'
}

remove_containers() {
    local containers
    mapfile -t containers < <(private_docker ps -aq)
    [ ${#containers[@]} -eq 0 ] || private_docker rm -fv "${containers[@]}" >/dev/null
}

services_exports() {
    cat <<ENV
export SANDFLEET_TEST_AMQP_URL='amqp://tests:$admin_password@127.0.0.1:$amqp_port/%2f'
export SANDFLEET_TEST_REDIS_URL='redis://tests:$admin_password@127.0.0.1:$redis_port/'
export SANDFLEET_TEST_CREDENTIALS='$credentials_dir'
export SANDFLEET_TEST_DOCKER_HOST='$docker_url'
export SANDFLEET_TEST_RABBITMQCTL='$run_dir/rabbitmqctl'
export SANDFLEET_TEST_BIN='$target_dir/debug/sandfleet'
ENV
}

# ---- stop ------------------------------------------------------------------------------------------------------------

cgroup_directories() { compgen -G "/sys/fs/cgroup/$cgroup_name" || compgen -G "/sys/fs/cgroup/*/$cgroup_name"; }

# All that belongs to the run: the services, by the marker what they and the tests started, and by the cgroup what runs
# in containers.
run_pids() {
    local directory file
    {
        for file in "$run_dir"/*.pid; do
            living_pid "$file"
        done
        grep -lzsxF "$marker=$services_id" /proc/[0-9]*/environ
        while read -r directory; do
            find "$directory" -name cgroup.procs -exec cat {} +
        done < <(cgroup_directories)
    } 2>/dev/null | sed 's|/proc/||; s|/environ||' | sort -un
}

# living_pid FILE: prints the pid in it, while that is still the process that we started.
living_pid() {
    local pid started
    read -r pid started <"$1" && [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

run_mounts() {
    awk -v run="$run_dir/" -v data="$services_dir/" '{
        point = $5; gsub(/\\040/, " ", point)
        if (index(point, run) == 1 || index(point, data) == 1) print point
    }' /proc/self/mountinfo | tac
}

ports_in_use() {
    local first port
    first=$(cat "$run_dir/first-port" 2>/dev/null) || return 0
    for port in "$first" $((first + 1)) $((first + 2)) $((first + 3)); do
        ! port_is_taken "$port" || echo "a listener on port $port"
    done
}

run_processes() {
    local pid
    for pid in $(run_pids); do
        echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
    done 2>/dev/null
}

nothing_runs() { [ -z "$(run_pids)" ]; }

# terminate SERVICE…: asks those that run to end, and waits for them.
terminate() {
    local service
    for service in "$@"; do
        living_pid "$run_dir/$service.pid" | xargs -r kill -TERM
    done 2>/dev/null
    await 10 none_lives "$@" || true
}

none_lives() {
    local service
    for service in "$@"; do
        living_pid "$run_dir/$service.pid" && return 1
    done >/dev/null 2>&1
    return 0
}

# Stops all of it, whatever state it is in, and says what it could not remove.
services_stop() {
    local path directory left
    rm -f "$services_dir"/env{,.new}
    [ -d "$run_dir" ] || return 0
    # Also takes the containers' layers out of the data directory, which nothing else would.
    remove_containers 2>/dev/null
    terminate dockerd redis rabbitmq
    terminate containerd epmd
    if ! await 2 nothing_runs; then
        run_pids | xargs -r kill -KILL 2>/dev/null
        await 10 nothing_runs || true
    fi
    while read -r path; do
        umount "$path" 2>/dev/null || umount --lazy "$path"
    done < <(run_mounts)
    while read -r directory; do
        find "$directory" -depth -type d -exec rmdir {} +
    done < <(cgroup_directories)
    left=$(
        run_processes
        ports_in_use
        run_mounts
        cgroup_directories
    )
    if [ -n "$left" ]; then
        printf 'tests/run: left behind, see %s:\n%s\n' "$run_dir" "$left" >&2
        return 1
    fi
    # A shim that was killed leaves its socket outside our directory.
    while read -r path; do
        rm -f "$path"
    done < <(find "$run_dir/containerd" -name address -exec awk '{ sub("^unix://", ""); print }' {} + 2>/dev/null)
    rm -rf --one-file-system "$run_dir"
    # Fixed paths of Docker and containerd, empty now unless another engine uses them too.
    compgen -G '/run/sandfleet-tests-*' >/dev/null ||
        rmdir /run/docker/plugins /run/docker /run/containerd/s /run/containerd 2>/dev/null
    return 0
}
