/*
 * A name service for scratch hosts, which behaves as its control file says: slow, hanging, failing, right.
 * glibc loads it into whatever looks an account up on that host; the control file is root's.
 *
 * The file's first line is `ok`, `slow MILLISECONDS`, `hang`, `tryagain ERRNO` or `unavail ERRNO`; each further
 * line is an account, `NAME UID`. It is read anew for every look-up, and again and again by one that hangs.
 */
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CONTROL "/etc/scratch-name-service"

static void wait_for(long milliseconds)
{
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* The mode and its number; the stream then stands before the accounts. */
static FILE *read_mode(char mode[16], int *number)
{
    FILE *control = fopen(CONTROL, "re");
    char line[64];
    *number = 0;
    if (control == NULL)
        return NULL;
    if (fgets(line, sizeof line, control) == NULL || sscanf(line, "%15s %d", mode, number) < 1) {
        fclose(control);
        return NULL;
    }
    return control;
}

static enum nss_status answer(FILE *control, const char *name, struct passwd *account, char *buffer, size_t size,
                              int *error)
{
    char known[64];
    unsigned int uid;
    while (fscanf(control, "%63s %u", known, &uid) == 2) {
        if (strcmp(known, name) != 0)
            continue;
        int length = snprintf(buffer, size, "%s", known);
        if (length < 0 || (size_t)length + 1 >= size) {
            *error = ERANGE;
            return NSS_STATUS_TRYAGAIN;
        }
        char *empty = buffer + length;
        *account = (struct passwd){ .pw_name = buffer, .pw_passwd = empty, .pw_uid = uid, .pw_gid = uid,
                                    .pw_gecos = empty, .pw_dir = empty, .pw_shell = empty };
        return NSS_STATUS_SUCCESS;
    }
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_countersigntest_getpwnam_r(const char *name, struct passwd *account, char *buffer, size_t size,
                                                int *error)
{
    char mode[16];
    int number;
    FILE *control = read_mode(mode, &number);
    while (control != NULL && strcmp(mode, "hang") == 0) {
        fclose(control);
        wait_for(10);
        control = read_mode(mode, &number);
    }
    enum nss_status status = NSS_STATUS_UNAVAIL;
    if (control == NULL) {
        *error = EIO;
        return status;
    }
    if (strcmp(mode, "slow") == 0)
        wait_for(number);
    if (strcmp(mode, "tryagain") == 0 || strcmp(mode, "unavail") == 0) {
        *error = number;
        status = mode[0] == 't' ? NSS_STATUS_TRYAGAIN : NSS_STATUS_UNAVAIL;
    } else {
        status = answer(control, name, account, buffer, size, error);
    }
    fclose(control);
    return status;
}
