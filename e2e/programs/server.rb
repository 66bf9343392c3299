# A server in Ruby: threads, a queue, a child process that answers through pipes.
#
# GET / answers with a nonce and the number of requests so far. A thread counts up all the while and
# hands its numbers to the child, which sends them back; what is wrong stands in the answer. After GET /rest
# it pauses until GET /work.
require 'socket'
require 'securerandom'

NONCE = SecureRandom.hex(8)
$problems = []
$working = true
requests = 0
lock = Mutex.new
changed = ConditionVariable.new

to_child, from_us = IO.pipe
from_child, to_us = IO.pipe
fork do
  from_us.close
  while (line = to_child.gets)
    to_us.write(line)
  end
end

Thread.new do
  number = 0
  loop do
    lock.synchronize { changed.wait(lock) until $working }
    number += 1
    from_us.puts(number)
    got = from_child.gets.to_i
    $problems << "the child answers #{got} to #{number}" if got != number
    sleep 0.005
  end
end

server = TCPServer.new('127.0.0.1', 8080)
loop do
  connection = server.accept
  path = connection.gets.split[1]
  while (line = connection.gets) && line != "\r\n"; end
  requests += 1 if path == '/'
  if path != '/'
    lock.synchronize { $working = path == '/work'; changed.broadcast }
  end
  answer = $problems.empty? ? "#{NONCE} #{requests}\n" : $problems.join('; ')
  connection.write("HTTP/1.0 200 OK\r\nContent-Length: #{answer.size}\r\n\r\n#{answer}")
  connection.close
end
