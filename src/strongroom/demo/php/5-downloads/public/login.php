<?php

declare(strict_types=1);

require dirname(__DIR__) . '/src/Database.php';
require dirname(__DIR__) . '/src/Visitor.php';

$visitor = new Tms\Visitor();
$failed = false;
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $sent = static fn (string $name): string => is_string($_POST[$name] ?? null) ? $_POST[$name] : '';
    if (!$visitor->sent($sent('token'))) {
        http_response_code(400);
        exit('This form is out of date; open it again.');
    }
    if ($visitor->signIn(new Tms\Database(), $sent('email'), $sent('password'))) {
        header('Location: /index.php');
        exit;
    }
    $failed = true;
    http_response_code(401);
}
?>
<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <title>Sign in</title>
    <link rel="stylesheet" href="/assets/css/app.css">
</head>
<body>
<h1>Sign in</h1>
<?php if ($failed): ?><p role="alert">We do not know this e-mail address and password.</p><?php endif ?>
<form method="post">
    <input type="hidden" name="token" value="<?= $visitor->token() ?>">
    <label>E-mail <input name="email" type="email" autocomplete="username" required></label>
    <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
    <button>Sign in</button>
</form>
</body>
</html>
