/* What sockets cost, with what was sent and never received, and connections that were never accepted. */
#include "maker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static const int biggest = 1 << 30;

int listener(struct sockaddr_in *address, int receive_bytes) {
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof *address;
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (receive_bytes) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (bind(socket_, (void *)address, size) || listen(socket_, 4096)) return -1;
    getsockname(socket_, (void *)address, &size);
    return socket_;
}

/* The domain and the type are the row's numbers. */
static void make_socket(void) {
    while (keep(socket(first ? first : AF_INET, second ? second : SOCK_STREAM, 0))) {
    }
}

static void unix_data(int type) {
    int ends[2];
    while (!socketpair(AF_UNIX, type, 0, ends)) {
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &biggest, sizeof biggest);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        while (write(ends[0], bytes, 32768) > 0) made++;
    }
    stop();
}

static void make_unix_stream(void) { unix_data(SOCK_STREAM); }
static void make_unix_dgram(void) { unix_data(SOCK_DGRAM); }
static void make_unix_seqpacket(void) { unix_data(SOCK_SEQPACKET); }

/* Connections with data that nothing accepts. */
static void make_unix_backlog(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "backlog%d", self);
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listening < 0 || bind(listening, (void *)&address, sizeof address) || listen(listening, 4096)) return stop();
    for (;;) {
        int end = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (end < 0 || connect(end, (void *)&address, sizeof address)) return stop();
        setsockopt(end, SOL_SOCKET, SO_SNDBUF, &biggest, sizeof biggest);
        while (write(end, bytes, 32768) > 0) {
        }
        made++;
        if (second) close(end);
    }
}

static int send_descriptor(int through, int descriptor) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec byte = {"x", 1};
    struct msghdr message = {
        .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(through, &message, MSG_DONTWAIT);
}

/* Descriptors on their way: events, or sockets with the data that they hold when the first number is 1. */
static void make_scm_rights(void) {
    int ends[2], inner[2];
    while (!socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)) {
        for (;;) {
            int sent = first ? (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, inner) ? -1 : inner[0]) : eventfd(0, 0);
            if (sent < 0) return stop();
            if (first) {
                while (write(inner[1], bytes, 32768) > 0) {
                }
            }
            int refused = send_descriptor(ends[0], sent) < 0 ? errno : 0;
            close(sent);
            if (first) close(inner[1]);
            if (refused) {
                errno = refused;
                stop();
                if (refused == ETOOMANYREFS) return;
                break;
            }
            made++;
        }
    }
    stop();
}

static int udp(struct sockaddr_in *address, int domain) {
    socklen_t size = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket_ = socket(domain, SOCK_DGRAM, 0);
    if (socket_ < 0) return -1;
    bind(socket_, (void *)address, size);
    getsockname(socket_, (void *)address, &size);
    return socket_;
}

static void make_udp_queued(void) {
    struct sockaddr_in address;
    for (;;) {
        int end = udp(&address, AF_INET);
        if (end < 0) return stop();
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &biggest, sizeof biggest);
        for (int datagram = 0; datagram < 8; datagram++)
            if (sendto(end, bytes, 60000, MSG_DONTWAIT, (void *)&address, sizeof address) > 0) made++;
    }
}

/* The same with many small ones, which cost far more than they hold. */
static void make_udp_small(void) {
    struct sockaddr_in address;
    for (;;) {
        int end = udp(&address, AF_INET);
        if (end < 0) return stop();
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &biggest, sizeof biggest);
        for (int datagram = 0; datagram < 600; datagram++)
            if (sendto(end, bytes, 1, MSG_DONTWAIT, (void *)&address, sizeof address) > 0) made++;
    }
}

/* Datagrams that are never finished: by the flag, or by the option when the second number is 1. */
static void make_udp_cork(void) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    int on = 1;
    for (;;) {
        int end = socket(AF_INET, SOCK_DGRAM, 0);
        if (end < 0) return stop();
        if (connect(end, (void *)&address, sizeof address)) return stop();
        setsockopt(end, SOL_SOCKET, SO_SNDBUF, &biggest, sizeof biggest);
        if (second && setsockopt(end, IPPROTO_UDP, UDP_CORK, &on, sizeof on)) return stop();
        long before = made;
        for (int piece = 0; piece < 4; piece++)
            if (send(end, bytes, first ? first : 16000, MSG_DONTWAIT | (second ? 0 : MSG_MORE)) > 0) made++;
            else stop();
        if (made == before) return;
    }
}

/* Answers that a port is closed, queued as errors with what was sent. */
static void make_udp_error(void) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    int on = 1;
    for (;;) {
        int end = socket(AF_INET, SOCK_DGRAM, 0);
        if (end < 0) return stop();
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &biggest, sizeof biggest);
        if (setsockopt(end, IPPROTO_IP, IP_RECVERR, &on, sizeof on)) return stop();
        for (int datagram = 0; datagram < 300; datagram++)
            if (sendto(end, bytes, 500, MSG_DONTWAIT, (void *)&address, sizeof address) > 0) made++;
    }
}

/* A socket that sends to itself by a port that the kernel chose, which it can lose again. */
static int udp_to_itself(void) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    socklen_t size = sizeof address;
    int end = socket(AF_INET, SOCK_DGRAM, 0);
    if (end < 0 || connect(end, (void *)&address, size) || getsockname(end, (void *)&address, &size)) return -1;
    return connect(end, (void *)&address, size) ? -1 : end;
}

/* Datagrams in sockets that have lost their port since. */
static void make_udp_forgotten(void) {
    static const struct sockaddr nothing = {.sa_family = AF_UNSPEC};
    for (;;) {
        int end = udp_to_itself();
        if (end < 0) return stop();
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &biggest, sizeof biggest);
        for (int datagram = 0; datagram < 8; datagram++)
            if (send(end, bytes, 60000, MSG_DONTWAIT) > 0) made++;
        if (connect(end, &nothing, sizeof nothing)) return stop();
    }
}

/* Copies of what was sent, queued with the time at which that was, which is asked for with each message. */
static void make_udp_timestamp(void) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    struct iovec data = {bytes, 1000};
    char control[CMSG_SPACE(sizeof(uint32_t))];
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SO_TIMESTAMPING;
    header->cmsg_len = CMSG_LEN(sizeof(uint32_t));
    *(uint32_t *)CMSG_DATA(header) = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE;
    for (;;) {
        int end = socket(AF_INET, SOCK_DGRAM, 0);
        if (end < 0) return stop();
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &biggest, sizeof biggest);
        for (int datagram = 0; datagram < 300; datagram++)
            if (sendmsg(end, &message, MSG_DONTWAIT) > 0) made++;
    }
}

/* Until the connection takes no more; counts kibibytes. */
static void fill(int end) {
    fcntl(end, F_SETFL, O_NONBLOCK);
    for (int idle = 0; idle < 2;) {
        long written = write(end, bytes, sizeof bytes);
        if (written > 0) {
            made += written >> 10;
        } else {
            idle++;
            usleep(2000);
        }
    }
}

static void make_tcp_queued(void) {
    struct sockaddr_in address;
    int listening = listener(&address, 0);
    if (listening < 0) return stop();
    for (;;) {
        int end = socket(AF_INET, SOCK_STREAM, 0);
        if (end < 0 || connect(end, (void *)&address, sizeof address)) return stop();
        if (accept(listening, 0, 0) < 0) return stop();
        fill(end);
    }
}

/* Connections that nothing accepts: as many bytes as the first number sent into each, and the client's end closed when
 * the second is 1, by a reset when it is 2. Other addresses of the loopback network give more ports than one has. */
static void make_tcp_backlog(void) {
    struct sockaddr_in address;
    for (int listeners = 0; listeners < (second ? 32 : 1); listeners++) {
        int listening = listener(&address, biggest);
        if (listening < 0) return stop();
        for (;;) {
            int end = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            if (end < 0) return stop();
            if (connect(end, (void *)&address, sizeof address) && errno != EINPROGRESS) return stop();
            struct pollfd writable = {end, POLLOUT, 0};
            if (poll(&writable, 1, 300) != 1) {
                errno = EAGAIN;
                stop();
                close(end);
                break;
            }
            for (long written = 0; written < first;) {
                long left = first - written;
                long more = write(end, bytes, left > (long)sizeof bytes ? (long)sizeof bytes : left);
                if (more > 0) written += more;
                else if (errno != EAGAIN || poll(&writable, 1, 5) != 1) break;
            }
            if (second == 2) setsockopt(end, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
            if (second) close(end);
            made++;
        }
    }
}

/* Connections that are over, which the kernel remembers for a minute. */
static void make_tcp_time_wait(void) {
    struct sockaddr_in address;
    int listening = listener(&address, 0);
    if (listening < 0) return stop();
    for (long number = 0; number < (first ? first : 400); number++) {
        int end = socket(AF_INET, SOCK_STREAM, 0);
        if (end < 0 || connect(end, (void *)&address, sizeof address)) return stop();
        int accepted = accept(listening, 0, 0);
        if (accepted < 0) return stop();
        close(end);
        close(accepted);
        made++;
    }
}

const struct maker socket_makers[] = {
    {"socket", make_socket},
    {"unix_stream", make_unix_stream},
    {"unix_dgram", make_unix_dgram},
    {"unix_seqpacket", make_unix_seqpacket},
    {"unix_backlog", make_unix_backlog},
    {"scm_rights", make_scm_rights},
    {"udp_queued", make_udp_queued},
    {"udp_small", make_udp_small},
    {"udp_cork", make_udp_cork},
    {"udp_error", make_udp_error},
    {"udp_forgotten", make_udp_forgotten},
    {"udp_timestamp", make_udp_timestamp},
    {"tcp_queued", make_tcp_queued},
    {"tcp_backlog", make_tcp_backlog},
    {"tcp_time_wait", make_tcp_time_wait},
    {0},
};
