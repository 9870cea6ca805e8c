// rename-flood DIRECTORY TIMES: as a user without rights, gives a directory another name so often.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char** words) {
  char other[512];
  if (count != 3 || setgid(1000) != 0 || setuid(1000) != 0) return 2;
  snprintf(other, sizeof other, "%s\xff\xff\xff\xff", words[1]);
  for (int i = 0; i < atoi(words[2]); ++i)
    if (rename(i % 2 == 0 ? words[1] : other, i % 2 == 0 ? other : words[1]) != 0) return 1;
  return 0;
}
