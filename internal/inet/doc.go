// Package inet knows sockets of the internet families (ip(7), ipv6(7), tcp(7),
// udp(7)) as far as saving and making them again needs: their names, all options
// that can be set, the list of the kernel's sockets (sock_diag(7)), the repair
// mode of TCP, packets made by hand, and a lock on the traffic of connections.
//
// Everything here works on a descriptor of ours for the socket or in the network
// namespace of the calling thread; nothing knows of tasks or images.
package inet
