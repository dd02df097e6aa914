/*
 * Takes keepalived's requests to IPVS on a kernel that has none, so that its checks can be measured
 * there. To be loaded with LD_PRELOAD.
 *
 * keepalived first looks for the generic netlink family of IPVS. Where the kernel has none, it uses
 * the socket options of ip_vs.h; these succeed here without doing anything.
 */
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_ipvs(int level, int option)
{
	return level == IPPROTO_IP && option >= IP_VS_BASE_CTL && option <= IP_VS_SO_SET_MAX;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	if (is_ipvs(level, option))
		return 0;
	return syscall(SYS_setsockopt, fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	if (is_ipvs(level, option)) {
		memset(value, 0, *length);
		if (option == IP_VS_SO_GET_INFO)
			((struct ip_vs_getinfo *)value)->version = 0x010201;
		return 0;
	}
	return syscall(SYS_getsockopt, fd, level, option, value, length);
}
