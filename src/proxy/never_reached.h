// Addresses that no hidden service reaches, whatever its configuration allows: those that mean the host or the network
// itself, and those at which clouds tell a machine its secrets.
//
// If a cloud is not listed here, or adds an address, `to` in the configuration helps.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace oboro::proxy {

struct NeverReached {
  const char* network;  // as in parse_network()
  bool metadata;        // a machine's secrets, not a reserved name
  const char* what;
};
inline constexpr std::array<NeverReached, 19> kNeverReached = {{
    {"0.0.0.0/8", false, "this network"},             // RFC 1122, 3.2.1.3
    {"127.0.0.0/8", false, "loopback"},               // the same
    {"224.0.0.0/3", false, "multicast or reserved"},  // RFC 5771 (224/4), RFC 1112 (240/4), RFC 919 (broadcast)
    {"::/96", false, "loopback or deprecated"},       // RFC 4291, 2.5.2, 2.5.3, 2.5.5.1
    {"ff00::/8", false, "multicast"},                 // RFC 4291, 2.7
    {"fe80::/10", false, "link-local"},  // RFC 4291, 2.5.6; OpenStack's and Akamai's metadata: fe80::a9fe:a9fe
    // Link-local (RFC 3927), and the metadata of nearly all clouds: 169.254.169.254 (AWS, Azure, Google, OpenStack,
    // Oracle, IBM, DigitalOcean, Hetzner, Huawei, Vultr...), 169.254.170.2 and .23 (credentials of AWS's ECS and EKS),
    // 169.254.0.23 (Tencent), 169.254.42.42 (Scaleway).
    {"169.254.0.0/16", true, "link-local, and clouds' metadata"},
    // docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    {"fd00:ec2::254", true, "AWS's metadata"},
    // docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html
    {"fd00:ec2::23", true, "AWS's credentials of pods"},
    // cloud.google.com/compute/docs/metadata/querying-metadata
    {"fd20:ce::254", true, "Google Cloud's metadata"},
    // learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16
    {"168.63.129.16", true, "Azure's WireServer"},
    // cloud-init: doc/rtd/reference/datasources/aliyun.rst, and sources/DataSourceAliYun.py for IPv6
    {"100.100.100.200", true, "Alibaba Cloud's metadata"},
    {"fd00:100::100:200", true, "Alibaba Cloud's metadata"},
    // oracle/oci-python-sdk: src/oci/auth/signers/instance_principals_security_token_signer.py
    {"fd00:c1::a9fe:a9fe", true, "Oracle Cloud's metadata"},
    // docs.oracle.com, Oracle Cloud Infrastructure Compute Classic: retrieving instance metadata
    {"192.0.0.192", true, "Oracle Cloud Classic's metadata"},
    // cloud-init: doc/rtd/reference/datasources/scaleway.rst
    {"fd00:42::42", true, "Scaleway's metadata"},
    // cloud-init: doc/rtd/reference/datasources/akamai.rst
    {"fd00:a9fe:a9fe::1", true, "Akamai's (Linode's) metadata"},
    // volcengine/cello: pkg/provider/volcengine/credential
    {"100.96.0.96", true, "Volcano Engine's metadata"},
    // docs.ucloud.cn/uhost/guide/metadata/metadata-server
    {"100.80.80.80", true, "UCloud's metadata"},
}};

// Why the address is never reached; empty: it may be. address: 4 or 16 bytes. An address of any other size is never
// reached.
std::string_view never_reached(std::span<const std::byte> address);

// The IPv4 address to which an IPv6 address leads behind a translator: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056) or
// SIIT (RFC 2765). Empty: there is none.
std::vector<std::byte> translated(std::span<const std::byte> address);

}  // namespace oboro::proxy
