// node forgetful.mjs FACILITATOR_URL : passes everything on to the facilitator, and answers to a settlement never.
//   PORT
import http from 'node:http';
import { HOST } from './lib/config.mjs';

const [facilitator] = process.argv.slice(2);

const server = http.createServer((request, response) => {
  const { host: _, ...headers } = request.headers;
  const onward = http.request(facilitator + request.url, { method: request.method, headers });
  onward.on('response', answer => {
    if (request.url === '/settle') {
      answer.resume().on('end', () => response.destroy());
    } else {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
});
server.listen(process.env.PORT, HOST, () => console.log(`forgetful facilitator on http://${HOST}:${process.env.PORT}`));
