#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sys/wait.h>
int main(int argc,char**argv){
  char buf[4096];
  int fd=open("/var/secret/log",O_CREAT|O_RDWR|O_TRUNC,0600);
  printf("open %d %s\n",fd,fd<0?strerror(errno):""); fflush(stdout);
  printf("write %zd\n",write(fd,"hello world\n",12));
  lseek(fd,0,SEEK_SET);
  ssize_t n=read(fd,buf,sizeof buf); printf("read %zd %.*s",n,(int)n,buf);
  struct stat st; printf("fstat %d size %ld\n",fstat(fd,&st),(long)st.st_size);
  int fd2=dup(fd); printf("dup %d\n",fd2); close(fd2);
  int n1=open("/dev/null",O_RDONLY); printf("null %d\n",n1);
  DIR*d=opendir("/var/secret"); struct dirent*e; while(d&&(e=readdir(d))) printf("entry %s\n",e->d_name);
  if(fork()==0){ printf("child write %zd\n",write(fd,"child\n",6)); fflush(stdout); _exit(0);} 
  int w; wait(&w);
  for(int i=0;i<1000;i++) write(fd,"x",1);
  printf("close %d\n",close(fd)); printf("again %d\n",close(fd));
  printf("stat %d\n",stat("/var/secret/log",&st)); printf("size %ld\n",(long)st.st_size);
  fflush(stdout); if(argc>1){ sleep(3);} 
  return 0;}
