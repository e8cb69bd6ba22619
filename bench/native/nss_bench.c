/*
 * A name service with as many accounts as anybody asks for: `u0000000` to `u9999999`, computed and never searched.
 * A plain passwd(5) would cost milliseconds a look-up where there are many, and would be what is measured.
 *
 * It is put into scratch hosts as libnss_bench.so.2, in front of the files (nsswitch.conf(5)).
 */
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

enum { DIGITS = 7, FIRST_UID = 1000000, ACCOUNTS = 10000000, ROOM = 64 };

static enum nss_status fill(unsigned number, struct passwd *entry, char *buffer, size_t length, int *error)
{
	if (length < ROOM) {
		*error = ERANGE;
		return NSS_STATUS_TRYAGAIN;
	}
	int name = snprintf(buffer, ROOM, "u%07u", number);
	char *home = buffer + name + 1;
	snprintf(home, (size_t)(ROOM - name - 1), "/srv/home/u%07u", number);
	entry->pw_name = buffer;
	entry->pw_passwd = "x";
	entry->pw_uid = FIRST_UID + number;
	entry->pw_gid = FIRST_UID + number;
	entry->pw_gecos = "";
	entry->pw_dir = home;
	entry->pw_shell = "/bin/sh";
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_bench_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t length, int *error)
{
	if (name[0] != 'u' || strlen(name) != DIGITS + 1 || strspn(name + 1, "0123456789") != DIGITS)
		return NSS_STATUS_NOTFOUND;
	unsigned number = 0;
	for (int i = 1; i <= DIGITS; i++)
		number = number * 10 + (unsigned)(name[i] - '0');
	return fill(number, entry, buffer, length, error);
}

enum nss_status _nss_bench_getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t length, int *error)
{
	if (uid < FIRST_UID || uid - FIRST_UID >= ACCOUNTS)
		return NSS_STATUS_NOTFOUND;
	return fill(uid - FIRST_UID, entry, buffer, length, error);
}
