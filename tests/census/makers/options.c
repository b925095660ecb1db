/* What options of sockets cost. */
#include "maker.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* Divisions, whose machine code is the longest. */
static struct sock_fprog divisions(void) {
    static struct sock_filter code[4096];
    unsigned short length = first ? first : 2400;
    for (int line = 0; line < length - 1; line++) code[line] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 3);
    code[length - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0xffff);
    return (struct sock_fprog){length, code};
}

static void make_socket_filter(void) {
    struct sock_fprog program = divisions();
    while (!second || made < second) {
        int end = socket(AF_UNIX, SOCK_DGRAM, 0);
        if (end < 0 || setsockopt(end, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) return stop();
        made++;
    }
}

static void make_reuseport_filter(void) {
    struct sock_fprog program = divisions();
    int on = 1;
    for (;;) {
        int end = socket(AF_INET, SOCK_DGRAM, 0);
        if (end < 0 || setsockopt(end, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return stop();
        if (setsockopt(end, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program)) return stop();
        made++;
    }
}

/* A table for each port that sockets share. */
static void make_reuseport(void) {
    int on = 1;
    for (;;) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        int end = socket(AF_INET, SOCK_DGRAM, 0);
        if (end < 0 || setsockopt(end, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return stop();
        if (bind(end, (void *)&address, sizeof address)) return stop();
        made++;
    }
}

/* Keys of peers: TCP_MD5SIG, or TCP_MD5SIG_EXT when the second number is 1. */
static void make_tcp_md5(void) {
    for (;;) {
        int end = socket(AF_INET, SOCK_STREAM, 0);
        if (end < 0) return stop();
        for (int peer = 0; peer < (first ? first : 1200); peer++) {
            struct tcp_md5sig signature = {.tcpm_keylen = 80};
            struct sockaddr_in *address = (void *)&signature.tcpm_addr;
            address->sin_family = AF_INET;
            address->sin_addr.s_addr = htonl(0x0a000001 + peer);
            if (second) {
                signature.tcpm_flags = TCP_MD5SIG_FLAG_PREFIX;
                signature.tcpm_prefixlen = 32;
            }
            int option = second ? TCP_MD5SIG_EXT : TCP_MD5SIG;
            if (setsockopt(end, IPPROTO_TCP, option, &signature, sizeof signature)) {
                stop();
                break;
            }
            made++;
        }
        if (!made) return;
    }
}

/* Keys of the newer kind, from Linux 6.7 on. */
static void make_tcp_ao(void) {
    struct {
        struct sockaddr_storage address;
        char algorithm[64];
        int32_t interface;
        uint32_t flags;
        uint16_t reserved;
        uint8_t prefix, sent_id, received_id, mac_length, key_flags, key_length, key[80];
    } __attribute__((aligned(8))) add;
    for (;;) {
        int end = socket(AF_INET, SOCK_STREAM, 0);
        if (end < 0) return stop();
        for (int peer = 0; peer < 1200; peer++) {
            memset(&add, 0, sizeof add);
            struct sockaddr_in *address = (void *)&add.address;
            address->sin_family = AF_INET;
            address->sin_addr.s_addr = htonl(0x0a000001 + peer);
            strcpy(add.algorithm, "cmac(aes128)");
            add.prefix = 32;
            add.sent_id = add.received_id = 100;
            add.key_length = 16;
            if (setsockopt(end, IPPROTO_TCP, 38 /* TCP_AO_ADD_KEY */, &add, sizeof add)) {
                stop();
                break;
            }
            made++;
        }
        if (!made) return;
    }
}

/* Groups of IPv4, or of IPv6 when the second number is 1. */
static void make_multicast(void) {
    for (;;) {
        int end = socket(second ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), refused;
        if (end < 0) return stop();
        for (int group = 0; group < (first ? first : 400); group++) {
            if (second) {
                struct ipv6_mreq join = {.ipv6mr_interface = 1};
                join.ipv6mr_multiaddr.s6_addr[0] = 0xff;
                join.ipv6mr_multiaddr.s6_addr[1] = 1;
                memcpy(&join.ipv6mr_multiaddr.s6_addr[8], &self, 2);
                memcpy(&join.ipv6mr_multiaddr.s6_addr[10], &end, 2);
                memcpy(&join.ipv6mr_multiaddr.s6_addr[12], &group, 4);
                refused = setsockopt(end, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &join, sizeof join);
            } else {
                struct ip_mreqn join = {.imr_ifindex = 1};
                join.imr_multiaddr.s_addr = htonl(0xe1000000 + (self << 18) + (end << 8) + group);
                refused = setsockopt(end, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join);
            }
            if (refused) {
                stop();
                break;
            }
            made++;
        }
        if (!made) return;
    }
}

/* Headers that IPv6 sends along. */
static void make_ipv6_option(void) {
    static char header[2040];
    header[1] = sizeof header / 8 - 1;
    for (int at = 2; at < (int)sizeof header; at += 255) {
        header[at] = 1; /* padding */
        header[at + 1] = at + 255 > (int)sizeof header ? (int)sizeof header - at - 2 : 253;
    }
    for (;;) {
        int end = socket(AF_INET6, SOCK_DGRAM, 0);
        if (end < 0 || setsockopt(end, IPPROTO_IPV6, IPV6_DSTOPTS, header, sizeof header)) return stop();
        made++;
    }
}

/* Labels of flows, of which the host has 4096. */
static void make_flow_label(void) {
    for (;;) {
        int end = socket(AF_INET6, SOCK_DGRAM, 0);
        if (end < 0) return stop();
        for (int label = 0; label < 32; label++) {
            struct {
                struct in6_addr address;
                uint32_t label;
                uint8_t action, share;
                uint16_t flags, expires, linger;
                uint32_t padding;
            } get = {.address = IN6ADDR_LOOPBACK_INIT, .share = 1, .flags = 1, .linger = 6};
            if (setsockopt(end, IPPROTO_IPV6, 32 /* IPV6_FLOWLABEL_MGR */, &get, sizeof get)) {
                stop();
                break;
            }
            made++;
        }
        if (!made) return;
    }
}

const struct maker option_makers[] = {
    {"socket_filter", make_socket_filter},
    {"reuseport_filter", make_reuseport_filter},
    {"reuseport", make_reuseport},
    {"tcp_md5", make_tcp_md5},
    {"tcp_ao", make_tcp_ao},
    {"multicast", make_multicast},
    {"ipv6_option", make_ipv6_option},
    {"flow_label", make_flow_label},
    {0},
};
