<?php

declare(strict_types=1);

require dirname(__DIR__) . '/src/Database.php';

session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Strict']);
$failed = false;
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $found = (new Tms\Database())->rowsAs(
        'service_role',
        null,
        'SELECT u.id, u.display_name FROM public.users u JOIN public.trainees t ON t.user_id = u.id'
        . ' WHERE lower(u.email) = lower(:email) AND t.emirates_id = :emirates_id',
        ['email' => $_POST['email'] ?? '', 'emirates_id' => $_POST['emirates_id'] ?? ''],
    );
    if ($found !== []) {
        session_regenerate_id(true);
        $_SESSION['user_id'] = $found[0]['id'];
        $_SESSION['name'] = $found[0]['display_name'];
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
<?php if ($failed): ?><p role="alert">We do not know this e-mail address and Emirates ID.</p><?php endif ?>
<form method="post">
    <label>E-mail <input name="email" type="email" required></label>
    <label>Emirates ID <input name="emirates_id" pattern="784-\d{4}-\d{7}-\d" required></label>
    <button>Sign in</button>
</form>
</body>
</html>
