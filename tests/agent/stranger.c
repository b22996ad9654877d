/* Connects to the socket that the first argument names, says half a frame and waits for what comes.
 * 42: the connection was closed without a word. 43: something was said. 44: there was no connection. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char byte;
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path)
        return 2;
    strcpy(address.sun_path, argv[1]);
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        return 44;
    if (send(sock, "half", 4, MSG_NOSIGNAL) < 0)
        return errno == EPIPE ? 42 : 2;
    ssize_t n = read(sock, &byte, 1);
    if (n > 0)
        return 43;
    return n == 0 || errno == ECONNRESET ? 42 : 2;
}
