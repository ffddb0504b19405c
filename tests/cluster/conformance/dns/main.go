// Command dns stands in for the image of CoreDNS that the conformance suite uses as its backend of datagrams: it
// answers every question on port 53 with no record but the asker's address in the additional section, as CoreDNS's
// plugin whoami does.
package main

import (
	"log"
	"net"

	"github.com/miekg/dns"
)

func main() {
	handler := dns.HandlerFunc(func(writer dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(question)
		answer.Authoritative = true
		if host, _, err := net.SplitHostPort(writer.RemoteAddr().String()); err == nil && len(question.Question) == 1 {
			answer.Extra = append(answer.Extra, address(question.Question[0].Name, net.ParseIP(host)))
		}
		if err := writer.WriteMsg(answer); err != nil {
			log.Print(err)
		}
	})
	log.Fatal(dns.ListenAndServe(":53", "udp", handler))
}

// address is the record of an address under a name.
func address(name string, ip net.IP) dns.RR {
	if v4 := ip.To4(); v4 != nil {
		return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: v4}
	}
	return &dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: ip}
}
