//! Bound ports: accept, limits, PROXY protocol, sniffing, connection IO and the HTTP/1 and HTTP/2 connection loops.
